//! What the tests of the tree share.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::house::{House, image8266, wait_until};
use otatree::firmware::{Device, Found, ImageKind, Md5};
use otatree::tree::{Folder, Outcome};

/// A removal waits for ever, as far as a test is concerned; everything else is at once.
pub const GRACE: &str = "settle = \"0s\"\nremoval_grace = \"1h\"\nquiet = \"0s\"";

/// The device whose seven slots the tests fill.
pub const NODE: &str = "dev/lotus/node/key";

/// Ends a house and builds another over the same folder, as a restart does.
pub fn restarted(mut house: House, tree_lines: &str, between: impl FnOnce(&House)) -> House {
    house.stop();
    between(&house);
    let dir = std::mem::replace(&mut house.dir, tempfile::tempdir().unwrap());
    drop(house);
    House::build(dir, tree_lines, "")
}

/// Gives a file of the tree another time: so many seconds after a fixed day.
pub fn set_time(house: &House, path: &str, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
    let file = fs::File::options()
        .append(true)
        .open(house.ota().join(path))
        .unwrap();
    file.set_modified(time).unwrap();
}

/// Puts a file with a time into the tree in one step, so that the server never sees it with another.
pub fn put_at(house: &House, path: &str, bytes: &[u8], seconds: u64) {
    let end = house.ota().join(path);
    fs::create_dir_all(end.parent().unwrap()).unwrap();
    let hidden = end.with_file_name(".timed");
    fs::write(&hidden, bytes).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
    let file = fs::File::options().append(true).open(&hidden).unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    fs::rename(hidden, end).unwrap();
}

/// What the catalogue has under this path.
pub fn folder(house: &House, path: &str) -> Option<std::sync::Arc<Folder>> {
    house.tree.catalog().at(Path::new(path)).cloned()
}

/// Waits until the catalogue knows every file of a folder as it is on disk, examined.
#[track_caller]
pub fn wait_known(house: &House, path: &str, files: usize) {
    wait_until(&format!("{files} files of {path} are known"), || {
        let Some(folder) = folder(house, path) else {
            return false;
        };
        folder.files.len() == files
            && folder.files.iter().all(|file| {
                let modified = fs::metadata(house.ota().join(path).join(&*file.name))
                    .and_then(|meta| meta.modified())
                    .unwrap();
                let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap();
                i128::from(file.stamp.modified) == since.as_nanos() as i128
                    && file.outcome != Outcome::Pending
            })
    });
}

/// Waits until everything that happened so far has been looked at: a slot of its own is served.
#[track_caller]
pub fn wait_noticed(house: &House) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let image = image8266(1_000_000 + n);
    house.put_renamed(&format!("marks/mark{n}/firmware.bin"), &image);
    house.wait_served(&format!("marks/p/n/mark{n}"), &image);
}

/// What a search ends at.
pub fn found(house: &House, device: &str, kind: ImageKind) -> Found {
    let mut words = device.split('/');
    let mut word = || words.next().unwrap();
    let device = Device::parse(word(), word(), word(), word()).unwrap();
    house.tree.catalog().find(&device, kind)
}

/// The MD5 of the app that this device is offered; what else it finds, in words.
pub fn offered(house: &House, device: &str) -> String {
    match found(house, device, ImageKind::Firmware) {
        Found::Offered(offer) => offer.image.facts.md5.to_string(),
        Found::Withheld(reason) => format!("held {reason}"),
        Found::Nothing => "nothing".to_owned(),
    }
}

#[track_caller]
pub fn assert_offered(house: &House, device: &str, bytes: &[u8]) {
    assert_eq!(offered(house, device), Md5::of(bytes).to_string());
}

/// All problems of the tree, one a line.
pub fn problems(house: &House) -> String {
    let all = house.tree.catalog().problems();
    let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[track_caller]
pub fn wait_problem(house: &House, text: &str) {
    wait_until(&format!("a problem says {text:?}"), || {
        problems(house).contains(text)
    });
}

/// Ends the threads of a test, also when it fails.
pub struct SetAtTheEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
