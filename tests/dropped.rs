//! Files that were dropped are in the audit log, with the name of their owner.

use std::process::Command;

use otatree::firmware::Sha256;
use serde_json::{Value, json};

use crate::commands::printed;
use crate::house::{image8266, wait_until};
use crate::program::{Place, Program, ask};

const FILE: &str = "dev/+/key/firmware.bin";

/// As people do it: a whole file takes its place at once.
fn drop_in(place: &Place, bytes: &[u8]) {
    let draft = place.path("draft");
    std::fs::write(&draft, bytes).unwrap();
    std::fs::create_dir_all(place.path("ota/dev/+/key")).unwrap();
    std::fs::rename(draft, place.path("ota").join(FILE)).unwrap();
}

fn served(program: &Program, bytes: &[u8]) {
    let http = program.addresses().0;
    wait_until("it is served", || {
        ask(http, "GET", "/ota_update/dev/any/node/key", &[]).body == bytes
    });
}

/// The drops in the log, the newest first.
fn drops(place: &Place) -> Vec<Value> {
    let (log, _) = place.json(&["audit", "--action", "drop"], "");
    log.as_array().unwrap().clone()
}

fn id(seed: u64) -> String {
    Sha256::of(&image8266(seed)).to_string()
}

#[test]
fn a_dropped_file_is_in_the_audit_log_with_its_owner_and_what_was_there_before() {
    let place = Place::new("");
    drop_in(&place, &image8266(1));
    let program = place.serve();
    served(&program, &image8266(1));
    drop_in(&place, &image8266(2));
    wait_until("it is written down", || drops(&place).len() == 1);
    let own = Command::new("id").arg("-un").output().unwrap();
    let own = String::from_utf8(own.stdout).unwrap();
    let row = &drops(&place)[0];
    assert_eq!(row["who"], json!({"kind": "file", "name": own.trim_end()}));
    assert_eq!(
        (&row["org"], &row["target"], &row["before"], &row["after"]),
        (
            &json!("dev"),
            &json!("dev/+/key"),
            &json!(id(1)),
            &json!(id(2))
        )
    );
    let said = printed(&place.run(&["audit", "--action", "drop"]));
    let line = format!("file {}  drop dev dev/+/key  {} → ", own.trim_end(), id(1));
    assert!(said.contains(&line), "{said}");
    // An owner who has no name.
    let path = place.path("ota").join(FILE);
    let draft = place.path("draft");
    std::fs::write(&draft, image8266(3)).unwrap();
    if std::os::unix::fs::chown(&draft, Some(54321), None).is_ok() {
        std::fs::rename(draft, path).unwrap();
        wait_until("it is written down, too", || drops(&place).len() == 2);
        assert_eq!(drops(&place)[0]["who"]["name"], "54321");
    } else {
        println!("skipped: only root gives a file to somebody else");
    }
}

#[test]
fn what_was_there_at_the_start_and_what_people_published_was_not_dropped() {
    let place = Place::new("");
    drop_in(&place, &image8266(1));
    let program = place.serve();
    served(&program, &image8266(1));
    let file = place.path("new.bin");
    std::fs::write(&file, image8266(2)).unwrap();
    printed(&place.run(&["publish", file.to_str().unwrap(), "dev/+/key"]));
    printed(&place.run(&["rollback", "dev/+/key"]));
    served(&program, &image8266(1));
    // The same bytes once more are no other image; the order of the rows is that of the changes.
    drop_in(&place, &image8266(1));
    drop_in(&place, &image8266(3));
    wait_until("one is written down", || !drops(&place).is_empty());
    let rows = drops(&place);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["before"], json!(id(1)));
    drop(program);
    let again = place.serve();
    served(&again, &image8266(3));
    drop_in(&place, &image8266(4));
    wait_until("the next is written down", || drops(&place).len() > 1);
    assert_eq!(drops(&place).len(), 2);
}
