//! No space left for the state folder: devices do not notice.

use std::fs;
use std::os::unix::fs::symlink;

use crate::house::{House, image8266, wait_until};
use crate::tree_kit::NODE;
use otatree::firmware::{Md5, Sha256};

const AT_ONCE: &str = "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"";

#[test]
fn a_full_state_folder_stops_neither_polls_nor_downloads_and_is_said() {
    let image = image8266(1);
    let (md5, id) = (Md5::of(&image).to_string(), Sha256::of(&image));
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fs::create_dir_all(state.join("kept")).unwrap();
    // What is written there ends with ENOSPC.
    symlink("/dev/full", state.join(format!("kept/{id}.new"))).unwrap();
    let house = House::build(dir, AT_ONCE, "");
    house.put("dev/key/firmware.bin", &image);
    house.wait_served(NODE, &image);
    let said = || house.board.now().get("kept-images").cloned();
    assert_eq!(said(), None);
    let old = Md5::of(b"old").to_string();
    let answer = house.poll8266(NODE, &old);
    assert_eq!((answer.status, &answer.body), (200, &image));
    wait_until("the board says that nothing is kept", || said().is_some());
    let text = said().unwrap();
    assert!(
        text.contains("cannot be kept") && text.contains("os error 28"),
        "{text}"
    );
    assert!(!state.join(format!("kept/{id}")).exists());
    assert!(!state.join("kept/slots.json").exists());
    // The tree is followed all the same.
    assert_eq!(house.poll8266(NODE, &md5).status, 304);
    house.put("dev/key/firmware.bin", &image8266(2));
    house.wait_served(NODE, &image8266(2));
    assert_eq!(house.poll8266(NODE, &md5).body, image8266(2));
    // Nothing is tried again at once: a full disk is not filled by trying.
    assert!(said().is_some());
}
