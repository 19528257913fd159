//! `ota.toml`: what people order for folders.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Output;

use crate::commands::{failed, printed};
use crate::house::{House, image8266, wait_until};
use crate::program::Place;
use crate::tree_kit::{folder, problems, wait_noticed};
use otatree::firmware::{Md5, Word};

const SLOT: &str = "dev/+/key/firmware.bin";
const NODE: &str = "dev/lotus/node/key";
const OTHER: &str = "dev/orchid/node/key";
const OLD: &str = "00000000000000000000000000000001";

/// A house that offers one image to nodes of two projects.
fn offering() -> House {
    let house = House::new();
    house.put_renamed(SLOT, &image8266(1));
    house.wait_served(NODE, &image8266(1));
    house.wait_served(OTHER, &image8266(1));
    house
}

#[test]
fn a_hold_in_the_root_stops_every_update_and_its_removal_releases_them() {
    let house = offering();
    for text in ["hold = true", "hold = \"recall: the pump does not stop\""] {
        house.put("ota.toml", text.as_bytes());
        house.wait_decision(NODE, "held on-hold");
        assert_eq!(house.poll8266(NODE, OLD).decision(), "held on-hold");
        assert_eq!(house.poll8266(NODE, OLD).status, 304);
        assert_eq!(
            house.head(&format!("/files/{SLOT}")).decision(),
            "held on-hold"
        );
        let sum = house.get(&format!("/ota_update/{NODE}/image.bin.md5"), &[]);
        assert_eq!(sum.status, 404, "who asks for the sum first gets none");
        let same = Md5::of(&image8266(1)).to_string();
        let twin = "dev/lotus/twin/key";
        assert_eq!(house.poll8266(twin, &same).decision(), "up-to-date");
        house.remove("ota.toml");
        house.wait_decision(NODE, "update");
        assert_eq!(house.poll8266(NODE, OLD).status, 200);
    }
}

#[test]
fn a_hold_anywhere_on_the_way_of_a_device_holds_it_and_no_other() {
    let house = offering();
    for at in [
        "dev/lotus/node/key",
        "dev/lotus/node",
        "dev/lotus/key",
        "dev/lotus",
    ] {
        house.put(&format!("{at}/ota.toml"), b"hold = true");
        house.wait_decision(NODE, "held on-hold");
        assert_eq!(
            house.head(&format!("/ota_update/{OTHER}")).status,
            200,
            "{at}"
        );
        house.remove(&format!("{at}/ota.toml"));
        house.wait_decision(NODE, "update");
    }
    for at in ["dev/+", "dev/+/node", "dev/node", "dev/key", "dev"] {
        house.put(&format!("{at}/ota.toml"), b"hold = true");
        house.wait_decision(NODE, "held on-hold");
        house.wait_decision(OTHER, "held on-hold");
        house.remove(&format!("{at}/ota.toml"));
        house.wait_decision(NODE, "update");
    }
}

#[test]
fn a_folder_that_is_removed_orders_nothing_any_more() {
    let house = offering();
    house.put("dev/lotus/ota.toml", b"hold = true");
    house.wait_decision(NODE, "held on-hold");
    house.remove("dev/lotus");
    house.wait_decision(NODE, "update");
    wait_until("the folder is gone", || {
        folder(&house, "dev/lotus").is_none()
    });
}

#[test]
fn a_broken_policy_holds_its_folder_and_says_where_it_is_broken() {
    let house = offering();
    house.put(
        "dev/lotus/ota.toml",
        b"downgrade = \"never\"\nhodl = true\n",
    );
    house.wait_decision(NODE, "held bad-policy");
    assert_eq!(house.poll8266(OTHER, OLD).status, 200);
    let said = problems(&house);
    for part in [
        "dev/lotus/ota.toml: ",
        "line 2, column 1",
        "hodl",
        "correct it, or remove it",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    house.put("dev/lotus/ota.toml", b"downgrade = \"never\"\n");
    house.wait_decision(NODE, "update");
    assert_eq!(problems(&house), "");
}

#[test]
fn a_policy_that_is_no_text_of_the_tree_holds() {
    let house = offering();
    let file = house.ota().join("dev/lotus/ota.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let outside = house.dir.path().join("outside.toml");
    fs::write(&outside, "").unwrap();
    for target in ["../../../outside.toml", "nothing.toml"] {
        symlink(target, &file).unwrap();
        house.wait_decision(NODE, "held bad-policy");
        house.remove("dev/lotus/ota.toml");
        house.wait_decision(NODE, "update");
    }
    for bytes in [&b"hold = \"\xFF\""[..], &[b'#'; 70_000]] {
        house.put("dev/lotus/ota.toml", bytes);
        house.wait_decision(NODE, "held bad-policy");
    }
    house.remove("dev/lotus/ota.toml");
    house.wait_decision(NODE, "update");
    // A link that stays in the tree is followed, and its target is heard.
    house.put("dev/shared/ota.toml", b"");
    symlink("../shared/ota.toml", &file).unwrap();
    wait_noticed(&house);
    house.put("dev/shared/ota.toml", b"hold = true");
    house.wait_decision(NODE, "held on-hold");
}

#[test]
fn a_policy_that_is_being_written_counts_when_its_folder_is_quiet() {
    let house = House::patient(
        "settle = \"1s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"",
        "",
    );
    house.put("ota.toml", b"hold = true");
    house.put_renamed(SLOT, &image8266(1));
    house.wait_decision(NODE, "held on-hold");
    let read = |house: &House| {
        let root = house.tree.catalog().folder([]).cloned().unwrap();
        root.read_order.clone().map(|read| read.1.word.clone())
    };
    // An editor empties the file before it writes it.
    house.put("ota.toml", b"");
    wait_until(
        "the empty file is read",
        || matches!(read(&house), Some(Word::Policy(policy)) if policy.hold.is_none()),
    );
    assert_eq!(house.poll8266(NODE, OLD).decision(), "held on-hold");
    house.put("ota.toml", b"hold = true\n");
    wait_until(
        "the new file is read",
        || matches!(read(&house), Some(Word::Policy(policy)) if policy.hold.is_some()),
    );
    assert_eq!(house.poll8266(NODE, OLD).decision(), "held on-hold");
    house.remove("ota.toml");
    house.wait_decision(NODE, "update");
}

#[test]
fn which_says_the_policy_and_the_files_that_say_it_and_check_lists_broken_ones() {
    let place = Place::new("");
    place.put("dev/+/key/firmware.bin", &image8266(1));
    place.put("ota.toml", b"by_hand = \"update\"\ndowngrade = \"allow\"");
    place.put(
        "dev/lotus/ota.toml",
        b"hold = \"recall\"\ndowngrade = \"never\"",
    );
    let said = text(&place.run(&["which", NODE]));
    for line in [
        "dev/lotus/node/key: held on-hold",
        "  hold = \"recall\"  (dev/lotus/ota.toml)",
        "  downgrade = \"never\"  (dev/lotus/ota.toml)",
        "  by_hand = \"update\"  (ota.toml)",
    ] {
        assert!(said.lines().any(|other| other == line), "{line}: {said}");
    }
    let (json, _) = place.json(&["which", NODE], "");
    assert_eq!(json["policy"][0]["key"], "hold");
    assert_eq!(json["policy"][0]["file"], "dev/lotus/ota.toml");
    let other = text(&place.run(&["which", OTHER]));
    assert!(other.contains(": update\n"), "{other}");
    place.put("dev/orchid/ota.toml", b"hold = maybe");
    let output = place.run(&["check"]);
    let said = text(&output);
    assert!(
        said.contains("dev/orchid/ota.toml: it is no policy") && said.contains("line 1"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_command_holds_an_org_and_which_says_who_did_until_it_is_released() {
    let place = Place::new("");
    place.put(SLOT, &image8266(1));
    let which = || text(&place.run(&["which", NODE]));
    printed(&place.run(&["hold", "dev", "--reason", "the pump does not stop"]));
    printed(&place.run(&["hold", "--all"]));
    let said = which();
    assert!(said.contains("held on-hold"), "{said}");
    let by = "hold = \"the pump does not stop\"  (held by the local operator since 20";
    assert!(said.contains(by), "{said}");
    printed(&place.run(&["release", "dev"]));
    let said = which();
    assert!(said.contains("hold = true  (held by"), "{said}");
    printed(&place.run(&["release", "--all"]));
    assert!(which().contains(": update"), "{}", which());
    failed(&place.run(&["release", "dev"]), 1);
    failed(&place.run(&["hold", "nowhere"]), 1);
    for wrong in [
        &["hold"][..],
        &["hold", "dev/.."],
        &["hold", "dev", "--all"],
    ] {
        assert_eq!(place.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let audit = printed(&place.run(&["audit", "--action", "hold"]));
    assert_eq!(audit.lines().count(), 4, "{audit}");
}
