//! What is remembered across restarts: sums of files, and copies of what was delivered.

use std::fs;
use std::io::Write as _;

use crate::house::{House, image8266, wait_until};
use crate::tree_kit::{NODE, problems, restarted, wait_noticed};
use otatree::firmware::{Md5, Sha256};

const AT_ONCE: &str = "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"";

/// A tree of old files, whose examination is certain: nothing in it is looked at twice.
fn examined(files: u64) -> House {
    let house = House::new();
    for n in 0..files {
        house.put(&format!("dev/lotus/n{n}/firmware.bin"), &image8266(n));
    }
    for n in 0..files {
        house.wait_served(&format!("dev/lotus/n{n}/key"), &image8266(n));
    }
    wait_until("nothing is to be examined again", || {
        let mut racy = false;
        let catalog = house.tree.catalog();
        catalog.visit(|_, folder| racy |= folder.files.iter().any(|file| file.racy));
        !racy && lines(&house) as u64 > files
    });
    house
}

fn cache(house: &House) -> std::path::PathBuf {
    house.dir.path().join("state/digests.jsonl")
}

fn lines(house: &House) -> usize {
    fs::read_to_string(cache(house)).map_or(0, |text| text.lines().count())
}

fn wait_all_served(house: &House, files: u64) {
    for n in 0..files {
        house.wait_served(&format!("dev/lotus/n{n}/key"), &image8266(n));
    }
}

#[test]
fn unchanged_files_are_not_examined_again_after_a_restart() {
    let house = restarted(examined(5), AT_ONCE, |_| {});
    wait_all_served(&house, 5);
    assert_eq!(house.tree.examined(), 0);
    let house = restarted(house, AT_ONCE, |house| {
        house.put("dev/lotus/n3/firmware.bin", &image8266(33));
    });
    house.wait_served("dev/lotus/n3/key", &image8266(33));
    house.wait_served("dev/lotus/n4/key", &image8266(4));
    // The second time because it was changed just before the first.
    assert!((1..=2).contains(&house.tree.examined()));
}

#[test]
fn a_broken_foreign_or_torn_cache_costs_examinations_and_nothing_else() {
    let mut house = examined(4);
    let whole = fs::read_to_string(cache(&house)).unwrap();
    let torn = &whole[..whole.len() - 20];
    let noisy = whole.replacen("{\"sound\"", "\0\u{7f}{\"sound\"", 1);
    let (head, rest) = whole.split_once('\n').unwrap();
    let other = head.replace("\"format\":", "\"format\":1");
    let other = format!("{other}\n{rest}");
    for (text, least, most) in [
        (torn, 1, 4),
        (noisy.as_str(), 1, 2),
        (other.as_str(), 4, 4),
        ("", 4, 4),
        ("{}\n", 4, 4),
    ] {
        house = restarted(house, AT_ONCE, |house| {
            fs::write(cache(house), text).unwrap()
        });
        wait_all_served(&house, 4);
        let count = house.tree.examined();
        assert!((least..=most).contains(&count), "{count} for {text:.60}");
        wait_until("it is written anew", || lines(&house) > 4);
        house = restarted(house, AT_ONCE, |_| {});
        wait_all_served(&house, 4);
        assert_eq!(house.tree.examined(), 0);
    }
}

#[test]
fn a_state_folder_that_cannot_be_written_stops_nothing() {
    let house = restarted(examined(2), AT_ONCE, |house| {
        fs::remove_file(cache(house)).unwrap();
        fs::create_dir(cache(house)).unwrap();
        fs::write(house.dir.path().join("state/kept"), b"").unwrap();
    });
    wait_all_served(&house, 2);
    let answer = house.poll8266("dev/lotus/n1/key", &Md5::of(b"x").to_string());
    assert_eq!(answer.status, 200);
    wait_until("it is said", || {
        house.board.now().contains_key("kept-images")
    });
    let said = || house.board.now().contains_key("digest-cache");
    wait_until("the cache's trouble is said", said);
    house.put("dev/lotus/n1/firmware.bin", &image8266(11));
    house.wait_served("dev/lotus/n1/key", &image8266(11));
    house.tree.sweep();
    wait_noticed(&house);
    assert!(said(), "it lasts as long as its cause");

    fs::remove_dir(cache(&house)).unwrap();
    house.tree.sweep();
    wait_until("it is over", || !said());
    // Two files and the head; a file that was seen just after its change follows later.
    wait_until("it is written again", || lines(&house) >= 3);
    house.put("dev/lotus/n2/firmware.bin", &image8266(2));
    wait_until("it is appended to", || {
        fs::read_to_string(cache(&house)).is_ok_and(|text| text.contains("n2/firmware.bin"))
    });
}

#[test]
fn an_overwrite_of_the_same_size_and_time_right_after_the_examination_is_noticed() {
    let house = House::new();
    let path = house.ota().join("dev/key/firmware.bin");
    house.put("dev/key/firmware.bin", &image8266(1));
    house.wait_served(NODE, &image8266(1));
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all(&image8266(2)).unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    house.wait_served(NODE, &image8266(2));
}

#[test]
fn what_was_delivered_is_kept_and_bounded_for_each_slot() {
    let house = House::with("[state]\nkeep_previous = 2");
    let kept = house.dir.path().join("state/kept");
    let copy = |n: u64| kept.join(Sha256::of(&image8266(n)).to_string());
    for n in 1..=5 {
        house.put("dev/key/firmware.bin", &image8266(n));
        house.wait_served(NODE, &image8266(n));
        assert!(house.poll8266(NODE, &Md5::of(b"x").to_string()).body == image8266(n));
        wait_until("a copy is kept", || {
            fs::read(copy(n)).is_ok_and(|bytes| bytes == image8266(n))
        });
    }
    wait_until("older copies are gone", || {
        [1, 2].iter().all(|n| !copy(*n).exists()) && (3..=5).all(|n| copy(n).exists())
    });
    house.remove("dev/key");
    house.wait_decision(NODE, "no-image");
    assert!(copy(5).exists());
}

#[test]
fn a_broken_list_of_kept_images_begins_anew() {
    let house = House::new();
    let list = house.dir.path().join("state/kept/slots.json");
    let house = restarted(house, AT_ONCE, |_| {
        fs::create_dir_all(list.parent().unwrap()).unwrap();
        fs::write(&list, b"{ no json").unwrap();
    });
    house.put("dev/key/firmware.bin", &image8266(1));
    house.wait_served(NODE, &image8266(1));
    assert_eq!(house.poll8266(NODE, &Md5::of(b"x").to_string()).status, 200);
    let list = house.dir.path().join("state/kept/slots.json");
    wait_until("the list is whole again", || {
        fs::read_to_string(&list).is_ok_and(|text| text.contains("dev/key"))
    });
    wait_noticed(&house);
    assert_eq!(problems(&house), "");
}

#[test]
fn a_poll_before_the_first_scan_ends_is_answered_from_disk() {
    let house = restarted(House::new(), AT_ONCE, |house| {
        for n in 0..3000 {
            let slot = house.ota().join(format!("dev/lotus/n{n}"));
            fs::create_dir_all(&slot).unwrap();
        }
        house.put("dev/lotus/n7/firmware.bin", &image8266(7));
    });
    let answer = house.poll8266("dev/lotus/n7/key", &Md5::of(b"x").to_string());
    assert!(
        answer.status == 200 && answer.body == image8266(7),
        "{}",
        answer.decision()
    );
}
