//! Signed drops, with signatures of Debian's minisign.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::client::with;
use crate::house::{House, esp8266, image8266, wait_until};
use crate::program::{Place, ask};
use crate::publish::{publish, slot};
use crate::tree_kit::{problems, restarted, wait_problem};
use otatree::firmware::forge::gzipped;
use otatree::firmware::{ImageKind, Sha256};
use otatree::tree::{Back, Expect, OrgKeys, Rules};
use tempfile::TempDir;

const SLOT: &str = "dev/key/firmware.bin";
const SIGNATURE: &str = "dev/key/firmware.bin.minisig";
const NODE: &str = "dev/lotus/node/key";
const AT_ONCE: &str = "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"";

/// A person with a pair of keys.
struct Signer {
    dir: TempDir,
}

impl Signer {
    fn new() -> Self {
        let signer = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        signer.minisign(&["-G", "-W", "-p", "pub", "-s", "key"]);
        signer
    }

    fn minisign(&self, arguments: &[&str]) {
        let output = Command::new("minisign")
            .args(arguments)
            .current_dir(self.dir.path())
            .output()
            .expect("minisign: run the tests with tests/run, which installs it");
        assert!(output.status.success(), "{output:?}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn public_key(&self) -> String {
        let text = fs::read_to_string(self.path("pub")).unwrap();
        text.lines().nth(1).unwrap().to_owned()
    }

    fn config(&self) -> String {
        format!("[orgs.dev]\npublic_keys = [\"{}\"]", self.public_key())
    }

    /// The signature of an image, with more arguments.
    fn sign(&self, image: &[u8], more: &[&str]) -> Vec<u8> {
        fs::write(self.path("image"), image).unwrap();
        let arguments = ["-S", "-s", "key", "-m", "image", "-x", "sig"];
        self.minisign(&[&arguments, more].concat());
        fs::read(self.path("sig")).unwrap()
    }

    /// The same, signed at another time.
    fn sign_at(&self, image: &[u8], seconds: u64) -> Vec<u8> {
        self.sign(image, &["-t", &format!("timestamp:{seconds}\tfile:image")])
    }
}

fn house(signer: &Signer) -> House {
    House::with(&signer.config())
}

#[test]
fn an_image_is_given_when_its_signature_is_there_whichever_comes_first() {
    let signer = Signer::new();
    let house = house(&signer);
    let image = image8266(1);
    house.put(SLOT, &image);
    house.wait_decision(NODE, "held unsigned");
    wait_problem(
        &house,
        "there is no .minisig beside it; sign it with `minisign -Sm`",
    );
    house.put(SIGNATURE, &signer.sign(&image, &[]));
    house.wait_served(NODE, &image);
    assert_eq!(problems(&house), "");

    // Legacy, without a hash before.
    let next = image8266(2);
    house.put(SIGNATURE, &signer.sign(&next, &["-l"]));
    house.wait_decision(NODE, "held unsigned");
    house.put(SLOT, &next);
    house.wait_served(NODE, &next);

    house.remove(SIGNATURE);
    house.wait_decision(NODE, "held unsigned");
    house.put("other/key/firmware.bin", &image);
    house.wait_served("other/lotus/node/key", &image);
}

#[test]
fn a_signature_of_another_key_or_for_other_bytes_is_none() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let house = house(&signer);
    let image = image8266(1);
    let good = signer.sign(&image, &[]);
    let forged = String::from_utf8(good.clone()).unwrap();
    let forged = forged.replace("timestamp:", "timestamp:9");
    for (bytes, why) in [
        (
            stranger.sign(&image, &[]),
            "a key that is not in public_keys",
        ),
        (signer.sign(&image8266(2), &[]), "not for these bytes"),
        (forged.into_bytes(), "not for these bytes, or was changed"),
        (b"untrusted comment: nothing".to_vec(), "is no signature"),
        (vec![0xFF; 200], "there is no .minisig beside it"),
    ] {
        house.put(SIGNATURE, &bytes);
        house.put_renamed(SLOT, &image);
        house.wait_decision(NODE, "held unsigned");
        wait_problem(&house, why);
        let by_name = house.head(&format!("/files/{SLOT}"));
        assert_eq!(by_name.decision(), "held unsigned", "{why}");
        house.put(SIGNATURE, &good);
        house.wait_served(NODE, &image);
        house.remove(SIGNATURE);
        house.wait_decision(NODE, "held unsigned");
    }
}

#[test]
fn an_image_that_was_signed_before_the_last_one_is_withheld_until_it_is_signed_again() {
    let signer = Signer::new();
    let house = house(&signer);
    let (old, new) = (image8266(1), image8266(2));
    house.put(SIGNATURE, &signer.sign_at(&new, 2000));
    house.put(SLOT, &new);
    house.wait_served(NODE, &new);
    house.put(SIGNATURE, &signer.sign_at(&old, 1000));
    house.put(SLOT, &old);
    house.wait_decision(NODE, "held old-signature");
    wait_problem(&house, "if it is meant, sign it again");

    let house = restarted(house, &format!("{AT_ONCE}\n{}", signer.config()), |house| {
        house.remove("dev/key");
    });
    house.put(SIGNATURE, &signer.sign(&old, &["-t", "no time at all"]));
    house.put(SLOT, &old);
    house.wait_decision(NODE, "held old-signature");
    house.put(SIGNATURE, &signer.sign_at(&old, 2000));
    house.wait_served(NODE, &old);
}

#[test]
fn a_rollback_that_a_person_orders_needs_no_new_signature() {
    let signer = Signer::new();
    let house = house(&signer);
    let (old, new) = (image8266(1), image8266(2));
    for (image, at) in [(&old, 1000), (&new, 2000)] {
        let rules = Rules {
            signature: Some(String::from_utf8(signer.sign_at(image, at)).unwrap().into()),
            ..Rules::default()
        };
        publish(&house, "dev/key", ImageKind::Firmware, image, rules).unwrap();
        house.wait_served(NODE, image);
    }
    let back = house.tree.rollback(
        &slot("dev/key"),
        ImageKind::Firmware,
        Back::Previous,
        Expect::Any,
    );
    assert_eq!(back.unwrap().id, Sha256::of(&old));
    house.wait_served(NODE, &old);
}

#[test]
fn a_verdict_under_other_keys_is_not_remembered() {
    let (signer, other) = (Signer::new(), Signer::new());
    let house = house(&signer);
    let image = image8266(1);
    house.put(SIGNATURE, &signer.sign(&image, &[]));
    house.put(SLOT, &image);
    house.wait_served(NODE, &image);
    let keys = |signer: &Signer| {
        let keys = vec![signer.public_key()].try_into().unwrap();
        OrgKeys::from([("dev".to_owned(), std::sync::Arc::new(keys))])
    };
    house.tree.take_keys(keys(&other));
    house.wait_decision(NODE, "held unsigned");
    house.tree.take_keys(OrgKeys::new());
    house.wait_decision(NODE, "update");
    house.tree.take_keys(keys(&signer));
    house.wait_served(NODE, &image);
    // What changed a moment ago is examined again, whatever is cached.
    wait_until("the file is at rest", || {
        let folder = crate::tree_kit::folder(&house, "dev/key");
        folder.is_some_and(|folder| folder.files.iter().all(|file| !file.racy))
    });
    let house = restarted(house, &format!("{AT_ONCE}\n{}", signer.config()), |_| {});
    house.wait_served(NODE, &image);
    assert_eq!(house.tree.examined(), 0);
    let house = restarted(house, &format!("{AT_ONCE}\n{}", other.config()), |_| {});
    house.wait_decision(NODE, "held unsigned");
}

#[test]
fn a_compressed_twin_needs_a_signature_of_its_own() {
    let signer = Signer::new();
    let house = house(&signer);
    let image = image8266(1);
    let twin = gzipped(&image);
    house.put(SIGNATURE, &signer.sign(&image, &[]));
    house.put("dev/key/firmware.bin.gz", &twin);
    house.put(SLOT, &image);
    house.wait_served(NODE, &image);
    let old = esp8266("00000000000000000000000000000001");
    let headers = with(&old, "x-ESP8266-free-space", "9000");
    let small = || {
        let path = format!("/ota_update/{NODE}");
        let answer = house.request("HEAD", &path, "HTTP/1.0", &headers);
        answer.decision().to_owned()
    };
    assert!(twin.len() < 9000, "{}", twin.len());
    wait_until("the twin is examined", || small() == "held does-not-fit");
    house.put("dev/key/firmware.bin.gz.minisig", &signer.sign(&twin, &[]));
    wait_until("the twin is given", || small() == "update");
}

#[test]
fn new_keys_count_after_a_reload() {
    let (signer, other) = (Signer::new(), Signer::new());
    let place = Place::new(&signer.config());
    let image = image8266(1);
    place.put(SIGNATURE, &signer.sign(&image, &[]));
    place.put(SLOT, &image);
    let program = place.serve();
    let (http, _) = program.addresses();
    let hears = |decision: &str| {
        wait_until(decision, || {
            ask(http, "HEAD", &format!("/ota_update/{NODE}"), &[]).decision() == decision
        });
    };
    hears("update");
    place.configure(&other.config());
    program.signal("HUP");
    hears("held unsigned");
    place.configure(&signer.config());
    program.signal("HUP");
    hears("update");
}
