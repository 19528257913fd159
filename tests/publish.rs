//! Uploads: an image is in its place and offered before the call returns, and until then the old one is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::house::{House, image32, image8266, wait_until};
use crate::tree_kit::{
    NODE, SetAtTheEnd, assert_offered, folder, offered, problems, wait_known, wait_noticed,
};
use otatree::firmware::forge::{Esp32, esp32_boot_loader};
use otatree::firmware::forge::{gzipped, littlefs, merged, partition_table};
use otatree::firmware::{Found, HoldReason, ImageKind, Md5, Sha256, Slot};
use otatree::tree::{
    Announced, Content, Expect, Notes, PublishError, Published, Publishing, Rules,
};

/// Nothing that is dropped counts before the test is over.
pub const NEVER: &str = "settle = \"1h\"\nremoval_grace = \"1h\"\nquiet = \"1h\"";

pub fn slot(text: &str) -> Slot {
    Slot::parse(text).unwrap()
}

pub fn publish(
    house: &House,
    to: &str,
    kind: ImageKind,
    bytes: &[u8],
    rules: Rules,
) -> Result<Published, PublishError> {
    let mut publishing = house.tree.publish(&slot(to), kind, Announced::default())?;
    for piece in bytes.chunks(1000) {
        publishing.write(piece)?;
    }
    publishing.finish(rules)
}

pub fn publish_app(house: &House, to: &str, bytes: &[u8]) -> Result<Published, PublishError> {
    publish(house, to, ImageKind::Firmware, bytes, Rules::default())
}

/// Every file of the tree, hidden ones too.
pub fn files(house: &House) -> Vec<String> {
    let mut folders = vec![house.ota()];
    let mut all = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            let rel = path.strip_prefix(house.ota()).unwrap();
            all.push(rel.to_str().unwrap().to_owned());
        }
    }
    all.sort();
    all
}

#[test]
fn what_is_published_is_offered_before_the_call_returns_however_patient_the_tree_is() {
    let house = House::patient(NEVER, "");
    for (n, to) in [
        "dev/key",
        "dev/+/key",
        "dev/lotus/key",
        "dev/node",
        "dev/+/node",
        "dev/lotus/node",
        "dev/lotus/node/key",
    ]
    .iter()
    .enumerate()
    {
        for seed in 0..3 {
            let image = image8266(n as u64 * 10 + seed);
            let published = publish_app(&house, to, &image).unwrap();
            assert_offered(&house, NODE, &image);
            assert_eq!(published.path, PathBuf::from(to).join("firmware.bin"));
            assert_eq!(
                (published.id, published.held, published.slot.to_string()),
                (Sha256::of(&image), None, (*to).to_owned())
            );
        }
    }
    // What the kernel reports of it later changes nothing.
    wait_until("all of it was heard", || {
        publish_app(&house, "marks/key", &image8266(99)).is_ok()
    });
    assert_offered(&house, NODE, &image8266(62));
    assert_eq!(problems(&house), "");
}

#[test]
fn a_filesystem_is_named_by_its_bytes_and_waits_for_no_quiet() {
    let house = House::patient(NEVER, "");
    let kind = ImageKind::Filesystem;
    let spiffs = [&[0x01, 0x80, 0xFF, 0xFF], &[0xFF; 16_380][..]].concat();
    let published = publish(
        &house,
        "dev/key",
        kind,
        &littlefs(4096, 4),
        Rules::default(),
    )
    .unwrap();
    assert!(published.path.ends_with("littlefs.bin"));
    let published = publish(&house, "dev/key", kind, &spiffs, Rules::default()).unwrap();
    assert_eq!(
        (published.held, published.before),
        (None, Some(Sha256::of(&littlefs(4096, 4))))
    );
    // One of two filesystems would be taken for the other.
    assert_eq!(files(&house), ["dev", "dev/key", "dev/key/spiffs.bin"]);
    match crate::tree_kit::found(&house, NODE, kind) {
        Found::Offered(offer) => assert_eq!(offer.image.facts.md5, Md5::of(&spiffs)),
        other => panic!("{other:?}"),
    }
    // An image that the slot has seen before is as new as any that is published.
    publish(
        &house,
        "dev/key",
        kind,
        &littlefs(4096, 4),
        Rules::default(),
    )
    .unwrap();
    assert_eq!(files(&house), ["dev", "dev/key", "dev/key/littlefs.bin"]);
}

#[test]
fn a_new_image_wins_over_every_other_file_of_its_slot_and_names_what_it_shadows() {
    let house = House::new();
    house.put("dev/key/blink.ino.bin", &image8266(1));
    house.put("dev/key/app.bin", &image8266(2));
    wait_known(&house, "dev/key", 2);
    house.wait_served(NODE, &image8266(1));
    let published = publish_app(&house, "dev/key", &image8266(3)).unwrap();
    assert_eq!(published.before, Some(Sha256::of(&image8266(1))));
    assert_eq!(published.shadowed.len(), 2, "{:?}", published.shadowed);
    assert_offered(&house, NODE, &image8266(3));
    // A compressed one has the last name of all, and nothing may stand before it.
    let small = gzipped(&image8266(4));
    let published = publish_app(&house, "dev/key", &small).unwrap();
    assert!(published.path.ends_with("firmware.bin.gz") && published.shadowed.is_empty());
    assert_offered(&house, NODE, &small);
    wait_noticed(&house);
    assert_offered(&house, NODE, &small);
    publish_app(&house, "dev/key", &image8266(5)).unwrap();
    wait_noticed(&house);
    assert_offered(&house, NODE, &image8266(5));
}

#[test]
fn what_was_said_of_the_old_image_is_not_said_of_the_new_one() {
    let house = House::new();
    house.put("dev/key/firmware.bin.toml", b"version = \"1.0\"\n");
    house.put("dev/key/firmware.bin", &image8266(1));
    house.wait_served(NODE, &image8266(1));
    let sum = Md5::of(&image8266(1)).to_string();
    house.put("dev/key/firmware.bin.md5", sum.as_bytes());
    wait_noticed(&house);
    let rules = |title: &str| Rules {
        notes: Notes {
            title: Some(title.into()),
            version: None,
            description: Some("two\nlines \"and\" quotes".into()),
        },
        signature: Some("untrusted comment: x\n".into()),
        ..Rules::default()
    };
    publish(
        &house,
        "dev/key",
        ImageKind::Firmware,
        &image8266(2),
        rules("Lamp"),
    )
    .unwrap();
    let Found::Offered(offer) = crate::tree_kit::found(&house, NODE, ImageKind::Firmware) else {
        panic!("not offered");
    };
    assert_eq!(offer.image.facts.id(), Sha256::of(&image8266(2)));
    assert_eq!(
        (
            offer.image.facts.title.as_deref(),
            offer.image.facts.version.as_deref(),
            offer.image.note.as_deref()
        ),
        (Some("Lamp"), None, Some("two\nlines \"and\" quotes"))
    );
    assert_eq!(
        files(&house)[2..5],
        [
            "dev/key/firmware.bin",
            "dev/key/firmware.bin.minisig",
            "dev/key/firmware.bin.toml"
        ]
    );
    publish_app(&house, "dev/key", &image8266(3)).unwrap();
    assert_eq!(files(&house)[2..4], ["dev/key/firmware.bin", "marks"]);
    assert_eq!(problems(&house), "");
}

#[test]
fn what_nobody_would_read_is_not_written_beside_an_image() {
    let house = House::new();
    let long: Box<str> = "x".repeat(70_000).into();
    let mut rules = Rules::default();
    rules.notes.description = Some(long.clone());
    let error = publish(&house, "dev/key", ImageKind::Firmware, &image8266(1), rules);
    assert!(
        matches!(error, Err(PublishError::TooLong { .. })),
        "{error:?}"
    );
    let rules = Rules {
        signature: Some(long),
        ..Rules::default()
    };
    let error = publish(&house, "dev/key", ImageKind::Firmware, &image8266(1), rules);
    assert!(
        matches!(error, Err(PublishError::TooLong { .. })),
        "{error:?}"
    );
    assert!(files(&house).is_empty());
}

#[test]
fn an_upload_can_go_from_thread_to_thread() {
    const fn goes<T: Send>() {}
    goes::<Publishing>();
}

#[test]
fn folders_are_made_as_the_tree_has_them() {
    let house = House::new();
    fs::create_dir(house.ota().join("dev")).unwrap();
    fs::set_permissions(house.ota().join("dev"), fs::Permissions::from_mode(0o2775)).unwrap();
    publish_app(&house, "dev/lotus/node/key", &image8266(1)).unwrap();
    let mode = |path: &str| {
        let meta = fs::metadata(house.ota().join(path)).unwrap();
        meta.permissions().mode() & 0o7777
    };
    let mask = 0o777 - (mode("dev/lotus") & 0o777);
    assert_eq!(mode("dev/lotus/node/key"), 0o2777 & !mask);
    assert_eq!(mode("dev/lotus/node/key/firmware.bin"), 0o664 & !mask);
}

#[test]
fn what_is_no_image_is_refused_and_leaves_no_trace() {
    let house = House::new();
    publish_app(&house, "dev/key", &image8266(1)).unwrap();
    let before = files(&house);
    let cut = image8266(2)[..9000].to_vec();
    let mut damaged = image32(3);
    damaged[5000] ^= 1;
    for (bytes, words) in [
        (cut, "truncated"),
        (damaged, "corrupt"),
        (Vec::new(), "empty"),
        (partition_table(), "partition table"),
        (merged(Esp32::default()), "merged"),
        (
            esp32_boot_loader(otatree::firmware::Esp32Chip(0)),
            "boot loader",
        ),
        (b"<!DOCTYPE html>".to_vec(), "web page"),
        (vec![0xFF; 5000], "all of its"),
    ] {
        for to in ["dev/key", "dev/lotus/node/key"] {
            match publish_app(&house, to, &bytes) {
                Err(PublishError::Invalid { sentence, .. }) => {
                    assert!(sentence.contains(words), "{words}: {sentence}");
                }
                other => panic!("{words}: {other:?}"),
            }
        }
    }
    assert_eq!(files(&house), before);
    assert_offered(&house, NODE, &image8266(1));
}

#[test]
fn a_truncated_image_is_refused_with_the_offset_of_its_end() {
    let house = House::new();
    for image in [image8266(1), image32(1)] {
        match publish_app(&house, "dev/key", &image[..8000]) {
            Err(PublishError::Invalid { offset, .. }) => assert_eq!(offset, Some(8000)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_first_bytes_are_enough_to_refuse_what_is_no_image() {
    let house = House::new();
    let mut publishing = house
        .tree
        .publish(&slot("dev/key"), ImageKind::Firmware, Announced::default())
        .unwrap();
    let page = "<!DOCTYPE html>\n".repeat(64);
    assert!(publishing.write(&page.as_bytes()[..500]).is_ok());
    let error = publishing.write(&page.as_bytes()[500..]).unwrap_err();
    assert!(error.to_string().contains("web page"), "{error}");
    drop(publishing);
    assert!(files(&house).is_empty());
}

#[test]
fn an_upload_that_is_too_large_or_not_whole_is_refused() {
    let house = House::patient("largest_image = \"12 KiB\"", "");
    let kind = ImageKind::Firmware;
    let to = slot("dev/key");
    let announce = |size, sha256| Announced { size, sha256 };
    let error = house
        .tree
        .publish(&to, kind, announce(Some(20_000), None))
        .err();
    assert!(matches!(
        error,
        Some(PublishError::TooLarge { limit: 12_288 })
    ));
    let large = vec![0xE9; 13_000];
    let mut publishing = house.tree.publish(&to, kind, Announced::default()).unwrap();
    let error = publishing.write(&large).unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { limit: 12_288 }));
    drop(publishing);
    let other = Sha256::of(b"another");
    for announced in [
        announce(Some(9_000), None),
        announce(Some(12_000), None),
        announce(None, Some(other)),
    ] {
        let mut publishing = house.tree.publish(&to, kind, announced).unwrap();
        let written = publishing.write(&image8266(1)[..10_000]);
        let error = written
            .err()
            .unwrap_or_else(|| publishing.finish(Rules::default()).unwrap_err());
        assert!(matches!(error, PublishError::NotWhole { .. }), "{error}");
    }
    assert!(files(&house).is_empty());
}

#[test]
fn an_image_for_another_chip_is_refused_unless_it_is_forced() {
    let house = House::new();
    publish_app(&house, "dev/key", &image8266(1)).unwrap();
    let error = publish_app(&house, "dev/key", &image32(2)).unwrap_err();
    assert!(matches!(error, PublishError::WrongFamily { .. }), "{error}");
    assert!(
        error.to_string().contains("ESP32") && error.to_string().contains("ESP8266"),
        "{error}"
    );
    // Of an unknown format nobody knows what its nodes would make of it.
    let error =
        publish_app(&house, "dev/key", &b"\x96\xf3\xb8\x3d\0\0\0\0".repeat(200)).unwrap_err();
    assert!(matches!(error, PublishError::WrongFamily { .. }), "{error}");
    assert_offered(&house, NODE, &image8266(1));
    let rules = Rules {
        force_family: true,
        ..Rules::default()
    };
    publish(&house, "dev/key", ImageKind::Firmware, &image32(2), rules).unwrap();
    assert_offered(&house, NODE, &image32(2));
}

#[test]
fn two_who_publish_to_one_slot_at_once_never_overwrite_each_other_unseen() {
    let house = House::new();
    let first = publish_app(&house, "dev/key", &image8266(0)).unwrap();
    let expect = Expect::Revision(first.revision.unwrap());
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..6)
            .map(|n| {
                let house = &house;
                scope.spawn(move || {
                    let rules = Rules {
                        expect,
                        ..Rules::default()
                    };
                    publish(house, "dev/key", ImageKind::Firmware, &image8266(n), rules)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let won: Vec<_> = results
        .iter()
        .filter_map(|result| result.as_ref().ok())
        .collect();
    assert_eq!(won.len(), 1, "{results:?}");
    let now = house.tree.slot(&slot("dev/key")).unwrap().revision;
    assert_eq!(now, won[0].revision);
    for result in &results {
        assert!(
            result.is_ok() || matches!(result, Err(PublishError::Changed { now: n }) if *n == now),
            "{result:?}"
        );
    }
    let absent = |to| {
        let rules = Rules {
            expect: Expect::Absent,
            ..Rules::default()
        };
        publish(&house, to, ImageKind::Firmware, &image8266(9), rules)
    };
    assert!(matches!(
        absent("dev/key"),
        Err(PublishError::Changed { .. })
    ));
    assert!(absent("dev/other").is_ok());
}

#[test]
fn a_file_that_was_dropped_a_moment_ago_is_not_overwritten_unseen() {
    let house = House::patient(NEVER, "");
    let first = publish_app(&house, "dev/key", &image8266(1)).unwrap();
    house.put_renamed("dev/key/firmware.bin", &image8266(2));
    let rules = Rules {
        expect: Expect::Revision(first.revision.unwrap()),
        ..Rules::default()
    };
    let error = publish(&house, "dev/key", ImageKind::Firmware, &image8266(3), rules);
    assert!(
        matches!(error, Err(PublishError::Changed { .. })),
        "{error:?}"
    );
    assert_eq!(
        fs::read(house.ota().join("dev/key/firmware.bin")).unwrap(),
        image8266(2)
    );
    // Whoever does not ask overwrites it; a copy is kept.
    publish_app(&house, "dev/key", &image8266(3)).unwrap();
    let kept = house.tree.versions(&slot("dev/key"));
    assert!(
        kept.iter()
            .any(|version| version.id == Sha256::of(&image8266(2))),
        "{kept:?}"
    );
}

#[test]
fn a_node_that_polls_all_the_time_gets_the_old_image_or_the_new_one() {
    let house = House::with("[guards]\nloop = 0");
    publish_app(&house, "dev/key", &image8266(0)).unwrap();
    let over = AtomicBool::new(false);
    let images: Vec<Vec<u8>> = (0..12).map(image8266).collect();
    std::thread::scope(|scope| {
        let _end = SetAtTheEnd(&over);
        let poller = scope.spawn(|| {
            let mut newest = 0;
            let mut polls = 0;
            while !over.load(Ordering::Relaxed) {
                let answer = house.poll8266(NODE, &Md5::of(b"old").to_string());
                assert_eq!(answer.status, 200, "{}", answer.decision());
                let got = images.iter().position(|image| *image == answer.body);
                let got = got.expect("half an image");
                assert!(got >= newest, "an older image after a newer one");
                newest = got;
                polls += 1;
            }
            polls
        });
        for image in &images[1..] {
            publish_app(&house, "dev/key", image).unwrap();
            let served = house.poll8266(NODE, &Md5::of(b"old").to_string());
            assert!(served.body == *image, "{}", served.decision());
        }
        over.store(true, Ordering::Relaxed);
        assert!(poller.join().unwrap() > 0);
    });
}

#[test]
fn a_device_that_was_told_of_an_image_gets_it_though_it_is_replaced_in_this_moment() {
    // Nothing fits into memory: each is read from its file as it is sent.
    let house = House::patient("memory = \"0 B\"", "");
    publish_app(&house, "dev/key", &image8266(1)).unwrap();
    let Found::Offered(told) = crate::tree_kit::found(&house, NODE, ImageKind::Firmware) else {
        panic!("not offered");
    };
    publish_app(&house, "dev/key", &image8266(2)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match runtime.block_on(house.tree.open(&told.image)).unwrap() {
        Content::File(file) => {
            let bytes = file.read_at(0, image8266(1).len()).unwrap();
            assert!(bytes == image8266(1));
        }
        other @ Content::Memory(_) => panic!("{other:?}"),
    }
    house
        .tree
        .delete(&slot("dev/key"), ImageKind::Firmware, Expect::Any)
        .unwrap();
    let Found::Nothing = crate::tree_kit::found(&house, NODE, ImageKind::Firmware) else {
        panic!("still there");
    };
}

#[test]
fn an_upload_does_not_keep_a_dropped_file_waiting() {
    let house = House::patient("settle = \"500ms\"\nremoval_grace = \"0s\"", "");
    house.put("dev/key/firmware.bin", &image8266(1));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = SetAtTheEnd(&over);
        let uploader = scope.spawn(|| {
            let mut publishing = house
                .tree
                .publish(&slot("dev/key"), ImageKind::Firmware, Announced::default())
                .unwrap();
            while !over.load(Ordering::Relaxed) {
                publishing.write(&[0xE9; 16]).unwrap();
                std::thread::yield_now();
            }
        });
        house.wait_served(NODE, &image8266(1));
        over.store(true, Ordering::Relaxed);
        uploader.join().unwrap();
    });
    assert_eq!(files(&house), ["dev", "dev/key", "dev/key/firmware.bin"]);
}

#[test]
fn what_is_dropped_after_an_upload_waits_as_ever() {
    let house = House::patient(NEVER, "");
    publish_app(&house, "dev/key", &image8266(1)).unwrap();
    fs::write(house.ota().join("dev/key/firmware.bin"), image8266(2)).unwrap();
    wait_until("it is seen", || {
        offered(&house, NODE) == format!("held {}", HoldReason::NotSettled)
    });
    assert!(folder(&house, "dev/key").is_some());
}
