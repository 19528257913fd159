//! Uploads in a broken world: no room, no right to write, links, crashes, storms. Whatever happens, the old image or the
//! new one is whole, and nothing else is there.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::house::{House, image8266, wait_until};
use crate::program::bare;
use crate::publish::{NEVER, files, publish, publish_app, slot};
use crate::tree_kit::{NODE, SetAtTheEnd, assert_offered, offered, problems, restarted};
use otatree::firmware::{ImageKind, Md5};
use otatree::tree::{Announced, Back, Expect, PublishError, Rules};

const APP: ImageKind = ImageKind::Firmware;
const KEY: &str = "dev/key";

/// A house whose tree or state is the folder of the world that this process was started in; `None` in any other.
fn house_in_world(part: &str) -> Option<(House, PathBuf)> {
    let world = PathBuf::from(std::env::var_os("OTATREE_WORLD")?);
    let dir = tempfile::tempdir().unwrap();
    symlink(&world, dir.path().join(part)).unwrap();
    let at_once = "settle = \"0s\"\nremoval_grace = \"0s\"";
    Some((House::build(dir, at_once, ""), world))
}

/// Runs a test of this binary, alone, in another world: `command` ends where the program and its arguments belong.
fn run_in(mut command: Command, program: &Path, world: &Path, test: &str) {
    let output = command
        .arg(program)
        .args(["--ignored", "--exact", test])
        .env("OTATREE_WORLD", world)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

fn in_little_room(test: &str) {
    let world = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=240k tmpfs \"$OTATREE_WORLD\"; exec \"$0\" \"$@\"";
    let shell = |script: &str| {
        let mut command = bare(Path::new("unshare"), world.path());
        command.args(["-Urm", "sh", "-euc", script]);
        command
    };
    let probe = shell("mount -t tmpfs tmpfs .").status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("skipped: this machine does not allow mounts in a user namespace");
        return;
    }
    let program = std::env::current_exe().unwrap();
    run_in(shell(script), &program, world.path(), test);
}

fn fill(world: &Path) -> PathBuf {
    let path = world.join(".fill");
    let mut file = fs::File::create(&path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    path
}

fn app(house: &House, seed: u64) -> Result<otatree::tree::Published, PublishError> {
    publish_app(house, KEY, &image8266(seed))
}

#[test]
fn a_full_disk_is_said_and_the_old_image_stays() {
    in_little_room("publish_broken::inside_a_tree_without_room");
}

#[test]
#[ignore = "run by a_full_disk_is_said_and_the_old_image_stays"]
fn inside_a_tree_without_room() {
    let Some((house, world)) = house_in_world("ota") else {
        return;
    };
    app(&house, 1).unwrap();
    let before = files(&house);
    let filled = fill(&world);
    for to in [KEY, "dev/lotus/node/key"] {
        let error = publish_app(&house, to, &image8266(2)).unwrap_err();
        assert!(matches!(error, PublishError::DiskFull { .. }), "{error:?}");
        let full = house
            .tree
            .rollback(&slot(to), APP, Back::Previous, Expect::Any);
        assert!(full.is_err());
    }
    fs::remove_file(filled).unwrap();
    assert_eq!(files(&house), before);
    assert_offered(&house, NODE, &image8266(1));
    app(&house, 2).unwrap();
    assert_offered(&house, NODE, &image8266(2));
}

#[test]
fn what_cannot_be_kept_is_not_overwritten() {
    in_little_room("publish_broken::inside_a_state_without_room");
}

#[test]
#[ignore = "run by what_cannot_be_kept_is_not_overwritten"]
fn inside_a_state_without_room() {
    let Some((house, world)) = house_in_world("state") else {
        return;
    };
    app(&house, 1).unwrap();
    fs::remove_dir_all(world.join("kept")).unwrap();
    let filled = fill(&world);
    let error = app(&house, 2).unwrap_err();
    assert!(
        matches!(&error, PublishError::DiskFull { path } if path.ends_with("kept")),
        "{error:?}"
    );
    let error = house.tree.delete(&slot(KEY), APP, Expect::Any).unwrap_err();
    assert!(matches!(error, PublishError::DiskFull { .. }), "{error:?}");
    assert_offered(&house, NODE, &image8266(1));
    // What replaces nothing has nothing to keep; that it is not kept itself is said.
    publish_app(&house, "dev/other", &image8266(3)).unwrap();
    assert!(house.board.now().contains_key("kept-images"));
    fs::remove_file(filled).unwrap();
    app(&house, 2).unwrap();
    house
        .tree
        .rollback(&slot(KEY), APP, Back::Previous, Expect::Any)
        .unwrap();
    assert_offered(&house, NODE, &image8266(1));
}

#[test]
fn a_folder_that_may_not_be_written_is_said_and_the_old_image_stays() {
    let world = tempfile::tempdir().unwrap();
    let (program, tree) = (world.path().join("tests"), world.path().join("ota"));
    fs::create_dir_all(tree.join(KEY)).unwrap();
    fs::create_dir_all(tree.join("dev/open")).unwrap();
    fs::write(tree.join("dev/key/firmware.bin"), image8266(1)).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(world.path(), 0o755);
    for folder in ["", "dev", KEY] {
        mode(&tree.join(folder), 0o555);
    }
    mode(&tree.join("dev/open"), 0o777);
    let built = std::env::current_exe().unwrap();
    fs::hard_link(&built, &program)
        .or_else(|_| fs::copy(built, &program).map(drop))
        .unwrap();
    let mut command = bare(Path::new("setpriv"), world.path());
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    } else {
        command = bare(Path::new("env"), world.path());
    }
    run_in(
        command,
        &program,
        &tree,
        "publish_broken::inside_a_tree_that_is_shut",
    );
    for folder in ["", "dev", KEY] {
        mode(&tree.join(folder), 0o755);
    }
}

#[test]
#[ignore = "run by a_folder_that_may_not_be_written_is_said_and_the_old_image_stays"]
fn inside_a_tree_that_is_shut() {
    let Some((house, _)) = house_in_world("ota") else {
        return;
    };
    wait_until("the tree is read", || house.tree.catalog().is_examined());
    let before = files(&house);
    for to in [KEY, "dev/new", "dev/lotus/new", "other/new"] {
        let error = publish_app(&house, to, &image8266(2)).unwrap_err();
        assert!(
            matches!(error, PublishError::Unwritable { .. }),
            "{to}: {error:?}"
        );
        assert!(
            error
                .to_string()
                .contains("the server's user needs to write there"),
            "{error}"
        );
    }
    assert!(house.tree.delete(&slot(KEY), APP, Expect::Any).is_err());
    assert_eq!(files(&house), before);
    publish_app(&house, "dev/open", &image8266(3)).unwrap();
    // What cannot be taken away here is not placed there.
    let moved = house.tree.promote(
        &slot(KEY),
        &slot("dev/open"),
        APP,
        otatree::tree::Promotion::default(),
    );
    assert!(
        matches!(moved, Err(PublishError::Unwritable { .. })),
        "{moved:?}"
    );
    let open = fs::read(house.ota().join("dev/open/firmware.bin")).unwrap();
    assert_eq!(open, image8266(3));
    assert!(house.ota().join("dev/key/firmware.bin").exists());
}

#[test]
fn a_slot_behind_a_link_is_refused_wherever_it_leads() {
    let house = House::new();
    let outside = tempfile::tempdir().unwrap();
    publish_app(&house, "other/key", &image8266(1)).unwrap();
    fs::create_dir_all(house.ota().join("dev")).unwrap();
    for (target, link) in [
        (outside.path(), "dev/out"),
        (Path::new("../other/key"), "dev/in"),
        (Path::new("nowhere"), "dev/dangling"),
        (Path::new("other"), "linked"),
    ] {
        symlink(target, house.ota().join(link)).unwrap();
    }
    fs::write(house.ota().join("dev/file"), b"").unwrap();
    for to in [
        "dev/out",
        "dev/out/key",
        "dev/in",
        "dev/dangling",
        "linked/key",
        "dev/file",
        "dev/file/key",
        "dev/a.tmp",
        "dev/x.part/key",
    ] {
        let error = publish_app(&house, to, &image8266(2)).unwrap_err();
        assert!(
            matches!(error, PublishError::Refused { .. }),
            "{to}: {error:?}"
        );
        assert!(
            house.tree.delete(&slot(to), APP, Expect::Any).is_err(),
            "{to}"
        );
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(
        fs::read(house.ota().join("other/key/firmware.bin")).unwrap(),
        image8266(1)
    );
    // A file that is a link makes way, and what it leads to stays.
    fs::create_dir(house.ota().join(KEY)).unwrap();
    symlink(
        "../../other/key/firmware.bin",
        house.ota().join("dev/key/firmware.bin"),
    )
    .unwrap();
    app(&house, 3).unwrap();
    assert_offered(&house, NODE, &image8266(3));
    assert_eq!(
        fs::read(house.ota().join("other/key/firmware.bin")).unwrap(),
        image8266(1)
    );
}

#[test]
fn an_upload_that_is_given_up_at_any_point_leaves_no_trace() {
    let house = House::patient(NEVER, "");
    app(&house, 1).unwrap();
    let before = files(&house);
    let image = image8266(2);
    for to in [KEY, "dev/lotus/node/key", "new/+/key"] {
        for tenth in 0..=10 {
            let mut publishing = house
                .tree
                .publish(&slot(to), APP, Announced::default())
                .unwrap();
            publishing
                .write(&image[..image.len() * tenth / 10])
                .unwrap();
            drop(publishing);
            assert_eq!(files(&house), before);
        }
    }
    assert_offered(&house, NODE, &image8266(1));
    assert_eq!(problems(&house), "");
}

#[test]
fn a_server_that_was_killed_while_it_published_leaves_the_old_image_or_the_new_one() {
    let (old, new) = (image8266(1), image8266(2));
    // What is on disk after each step of an exchange.
    type Step = (&'static str, &'static [(&'static str, Option<bool>)]);
    let steps: [Step; 6] = [
        ("half a draft", &[(".otatree.aaaaaa", Some(false))]),
        (
            "a whole draft, and one of a note",
            &[(".otatree.aaaaaa", Some(true)), (".otatree.bbbbbb", None)],
        ),
        (
            "the sums are gone",
            &[("firmware.bin.md5", None), (".otatree.aaaaaa", Some(true))],
        ),
        (
            "the image is in its place",
            &[("firmware.bin", Some(true)), ("firmware.bin.md5", None)],
        ),
        (
            "and a compressed one was to go",
            &[
                ("firmware.bin", Some(true)),
                ("firmware.bin.md5", None),
                ("firmware.bin.gz", Some(false)),
            ],
        ),
        ("nothing", &[]),
    ];
    for (name, changes) in steps {
        let house = House::new();
        house.put("dev/key/firmware.bin", &old);
        house.put(
            "dev/key/firmware.bin.md5",
            Md5::of(&old).to_string().as_bytes(),
        );
        house.wait_served(NODE, &old);
        let house = restarted(house, "settle = \"0s\"\nremoval_grace = \"0s\"", |house| {
            for (file, change) in changes {
                let path = house.ota().join(KEY).join(file);
                match change {
                    Some(true) => fs::write(path, &new).unwrap(),
                    Some(false) => fs::write(path, &new[..5000]).unwrap(),
                    None => drop(fs::remove_file(path)),
                }
            }
        });
        wait_until("it is read again", || {
            house.tree.catalog().complete && house.tree.catalog().is_examined()
        });
        let got = offered(&house, NODE);
        let is = |image: &[u8]| got == Md5::of(image).to_string();
        assert!(is(&old) || is(&new), "{name}: {got}");
        let left: Vec<String> = files(&house)
            .into_iter()
            .filter(|file| file.contains(".otatree."))
            .collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

#[test]
fn drafts_of_a_killed_server_are_removed_at_the_start_and_nothing_else_is() {
    let house = House::new();
    app(&house, 1).unwrap();
    let stay = [
        "dev/.git",
        "dev/key/.note",
        "dev/key/.otatree",
        "dev/key/.otatree.younger",
    ];
    let house = restarted(house, "settle = \"0s\"", |house| {
        for path in ["dev/.otatree.x1", "dev/key/.otatree.x2", ".otatree.x3"]
            .iter()
            .chain(&stay)
        {
            fs::write(house.ota().join(path), b"half").unwrap();
        }
        // Of another server on the same tree.
        let file = fs::File::options()
            .append(true)
            .open(house.ota().join(stay[3]))
            .unwrap();
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(3600))
            .unwrap();
        fs::create_dir(house.ota().join("dev/key/.otatree.folder")).unwrap();
    });
    wait_until("the tree is read", || house.tree.catalog().complete);
    let left = files(&house);
    assert!(
        !left.iter().any(|file| file.contains(".otatree.x")),
        "{left:?}"
    );
    assert!(
        stay.iter().all(|file| left.contains(&(*file).to_owned())),
        "{left:?}"
    );
    assert!(left.contains(&"dev/key/.otatree.folder".to_owned()));
    wait_until("it is offered", || {
        offered(&house, NODE) == Md5::of(&image8266(1)).to_string()
    });
}

#[test]
fn a_storm_of_events_holds_nothing_up() {
    let house = House::patient("settle = \"1h\"", "");
    app(&house, 0).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = SetAtTheEnd(&over);
        scope.spawn(|| {
            let folder = house.ota().join(KEY);
            let mut n = 0_u64;
            while !over.load(Ordering::Relaxed) {
                n += 1;
                let name = [".hidden", "readme.txt", "other.bin", "firmware.bin.map"]
                    [(n % 4) as usize % 4];
                fs::write(folder.join(name), n.to_le_bytes()).unwrap();
                let _ = fs::rename(folder.join(name), folder.join(format!("{name}~")));
            }
        });
        for n in 1..40 {
            let published = app(&house, n).unwrap();
            assert_eq!(published.held, None);
            assert_offered(&house, NODE, &image8266(n));
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn an_upload_before_the_tree_was_read_counts_at_once() {
    let house = restarted(House::new(), NEVER, |house| {
        for n in 0..3000 {
            fs::create_dir_all(house.ota().join(format!("dev/lotus/n{n}"))).unwrap();
        }
        house.put("dev/key/firmware.bin", &image8266(1));
    });
    publish_app(&house, "dev/lotus/n7", &image8266(2)).unwrap();
    assert_offered(&house, "dev/lotus/n7/key", &image8266(2));
    app(&house, 3).unwrap();
    assert_offered(&house, NODE, &image8266(3));
    let kept = house.tree.versions(&slot(KEY));
    assert_eq!(
        kept.len(),
        2,
        "what was there is kept, though nobody had read it: {kept:?}"
    );
    // It is examined once more for what policies look for, when its folder is quiet: here that is never.
    wait_until("the tree is read", || house.tree.catalog().complete);
    assert_offered(&house, "dev/lotus/n7/key", &image8266(2));
}

#[test]
fn what_lies_below_a_slot_is_read_though_somebody_publishes_to_it_meanwhile() {
    let house = restarted(House::new(), "settle = \"0s\"", |house| {
        for n in 0..2000 {
            fs::create_dir_all(house.ota().join(format!("dev/lotus/n{n}"))).unwrap();
        }
        house.put("dev/lotus/n1999/firmware.bin", &image8266(1));
    });
    for seed in 2..5 {
        publish_app(&house, "dev/lotus", &image8266(seed)).unwrap();
    }
    wait_until("the tree is read", || house.tree.catalog().complete);
    let lotus = house.tree.catalog();
    let lotus = lotus.at(Path::new("dev/lotus")).unwrap();
    assert_eq!(lotus.children.len(), 2000);
    assert!(lotus.children.iter().all(|(_, node)| node.inode != 0));
    house.wait_served("dev/lotus/n1999/key", &image8266(1));
}

#[test]
fn nothing_is_published_into_a_tree_that_is_not_there() {
    let house = House::new();
    app(&house, 1).unwrap();
    let away = house.dir.path().join("away");
    fs::rename(house.ota(), &away).unwrap();
    let mut publishing = None;
    for mount_point in [false, true] {
        if mount_point {
            fs::create_dir(house.ota()).unwrap();
        }
        let error = app(&house, 2).unwrap_err();
        assert!(matches!(error, PublishError::NoTree), "{error:?}");
        assert!(house.tree.delete(&slot(KEY), APP, Expect::Any).is_err());
    }
    assert!(files(&house).is_empty());
    fs::remove_dir(house.ota()).unwrap();
    fs::rename(&away, house.ota()).unwrap();
    wait_until("it is back", || {
        publishing = house
            .tree
            .publish(&slot(KEY), APP, Announced::default())
            .ok();
        publishing.is_some()
    });
    // It goes away while the upload comes.
    let mut publishing = publishing.unwrap();
    publishing.write(&image8266(2)).unwrap();
    fs::rename(house.ota(), &away).unwrap();
    let error = publishing.finish(Rules::default()).unwrap_err();
    assert!(matches!(error, PublishError::NoTree), "{error:?}");
    fs::rename(&away, house.ota()).unwrap();
    wait_until("it is back", || {
        publish(&house, KEY, APP, &image8266(3), Rules::default()).is_ok()
    });
    assert_offered(&house, NODE, &image8266(3));
}
