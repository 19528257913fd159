//! Parts of an image, conditions, and HEAD: RFC 9110 with the quirk of ESP-IDF.

use std::io::Write;

use crate::client::{NODE, SLOT, ask, is_closed, other_md5, path, read_one, request};
use crate::house::{Answer, House, esp32, image32, image8266};
use crate::tree_kit::restarted;
use otatree::firmware::{Md5, Sha256};

fn part(house: &House, range: &str) -> Answer {
    house.get(&path(NODE), &[("Range", range)])
}

#[track_caller]
fn gives(answer: &Answer, image: &[u8], from: usize, to: usize) {
    assert_eq!(answer.status, 206);
    let wanted = format!("bytes {from}-{}/{}", to - 1, image.len());
    assert_eq!(answer.header("content-range"), Some(wanted.as_str()));
    let length = (to - from).to_string();
    assert_eq!(answer.header("content-length"), Some(length.as_str()));
    assert!(answer.body == image[from..to]);
    assert_eq!(answer.header("x-md5"), None, "it is of a whole image");
    assert_eq!(answer.header("x-sha256"), None);
}

#[track_caller]
fn is_beyond(answer: &Answer, image: &[u8]) {
    assert_eq!(answer.status, 416);
    let wanted = format!("bytes */{}", image.len());
    assert_eq!(answer.header("content-range"), Some(wanted.as_str()));
}

#[test]
fn a_part_is_what_was_asked_for() {
    let house = House::new();
    let image = image32(1);
    house.offer(&image);
    let end = image.len();
    gives(&part(&house, "bytes=0-0"), &image, 0, 1);
    gives(&part(&house, "bytes=0-"), &image, 0, end);
    gives(&part(&house, "bytes=4096-"), &image, 4096, end);
    gives(&part(&house, "bytes=100-199"), &image, 100, 200);
    gives(&part(&house, "bytes=-16"), &image, end - 16, end);
    let last = format!("bytes=4096-{}", end - 1);
    gives(&part(&house, &last), &image, 4096, end);
    // The last piece of ESP-IDF's partial download ends one past the end.
    let quirk = format!("bytes=4096-{end}");
    gives(&part(&house, &quirk), &image, 4096, end);
}

#[test]
fn what_is_not_there_cannot_be_had() {
    let house = House::new();
    let image = image32(1);
    house.offer(&image);
    let end = image.len();
    is_beyond(&part(&house, &format!("bytes={end}-")), &image);
    is_beyond(&part(&house, &format!("bytes={end}-{end}")), &image);
    is_beyond(&part(&house, "bytes=99999999999999999999-"), &image);
    is_beyond(&part(&house, "bytes=-0"), &image);
}

#[test]
fn several_ranges_and_nonsense_give_everything() {
    let house = House::new();
    let image = image32(1);
    house.offer(&image);
    for range in [
        "bytes=0-1,4-5",
        "bytes=5-4",
        "bytes=a-",
        "lines=0-1",
        "bytes",
    ] {
        let answer = part(&house, range);
        assert_eq!(answer.status, 200, "{range}");
        assert!(answer.body == image);
        let md5 = Md5::of(&image).to_string();
        assert_eq!(answer.header("x-md5"), Some(md5.as_str()));
    }
}

#[test]
fn a_head_request_tells_all_but_the_bytes() {
    let house = House::new();
    let image = image32(1);
    house.offer(&image);
    let head = house.head(&path(NODE));
    let get = house.get(&path(NODE), &[]);
    for name in [
        "content-length",
        "content-type",
        "x-md5",
        "x-sha256",
        "etag",
        "last-modified",
        "cache-control",
        "x-accel-buffering",
        "accept-ranges",
        "x-ota-decision",
    ] {
        assert_eq!(head.header(name), get.header(name), "{name}");
        assert!(head.header(name).is_some(), "{name}");
    }
    assert_eq!(get.header("content-type"), Some("application/octet-stream"));
    assert_eq!(get.header("cache-control"), Some("no-store, no-transform"));
    assert_eq!(get.header("transfer-encoding"), None);
    let mut stream = house.connect();
    stream
        .write_all(
            request(&path(NODE), "HTTP/1.1", &[("Connection", "close")])
                .replacen("GET", "HEAD", 1)
                .as_bytes(),
        )
        .unwrap();
    let mut bare = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut bare).unwrap();
    assert!(bare.ends_with(b"\r\n\r\n"), "no body follows");
}

#[test]
fn a_range_is_for_get_alone() {
    let house = House::new();
    let image = image32(1);
    house.offer(&image);
    for range in ["bytes=0-0", "bytes=999999999-"] {
        let answer = house.request("HEAD", &path(NODE), "HTTP/1.1", &[("Range", range)]);
        let length = image.len().to_string();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-length"), Some(length.as_str()));
    }
}

#[test]
fn a_tag_that_is_known_is_304() {
    let house = House::new();
    let image = image32(1);
    house.offer(&image);
    let tag = house.head(&path(NODE)).header("etag").unwrap().to_owned();
    for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let answer = house.get(&path(NODE), &[("If-None-Match", &known)]);
        assert_eq!((answer.status, answer.body.len()), (304, 0));
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
    }
    let answer = house.get(&path(NODE), &[("If-None-Match", "\"x\"")]);
    assert_eq!(answer.status, 200);
    // The device's own word goes first: a proxy's tag says nothing of what it runs.
    let (old, old_sha) = (other_md5(0), Sha256::of(b"old").to_string());
    assert_eq!(house.poll(&esp32(&old, &old_sha)).status, 200);
}

#[test]
fn a_range_of_a_stale_tag_gives_everything() {
    let house = House::new();
    let image = image32(1);
    house.offer(&image);
    let tag = house.head(&path(NODE)).header("etag").unwrap().to_owned();
    let ask = |tag: &str| house.get(&path(NODE), &[("Range", "bytes=100-"), ("If-Range", tag)]);
    gives(&ask(&tag), &image, 100, image.len());
    let newer = image32(2);
    house.offer(&newer);
    for stale in [tag.as_str(), "Sat, 01 Jan 2000 00:00:00 GMT", "W/\"x\""] {
        let answer = ask(stale);
        assert_eq!(answer.status, 200);
        assert!(answer.body == newer);
    }
}

#[test]
fn a_range_never_continues_another_image() {
    let house = House::new();
    let (image, newer) = (image32(1), image32(2));
    house.offer(&image);
    gives(&part(&house, "bytes=0-4095"), &image, 0, 4096);
    gives(&part(&house, "bytes=4096-5000"), &image, 4096, 5001);
    house.offer(&newer);
    is_beyond(&part(&house, "bytes=5001-"), &newer);
    is_beyond(&part(&house, "bytes=5001-"), &newer);
    gives(&part(&house, "bytes=0-4095"), &newer, 0, 4096);
    gives(&part(&house, "bytes=4096-"), &newer, 4096, newer.len());
}

#[test]
fn a_visitor_does_not_make_a_range_continue_another_image() {
    let house = House::new();
    let (image, newer) = (image32(1), image32(2));
    house.offer(&image);
    let idf = |range| {
        let agent = ("User-Agent", "ESP32 HTTP Client/1.0");
        house.get(&path(NODE), &[agent, ("Range", range)])
    };
    gives(&idf("bytes=0-4095"), &image, 0, 4096);
    house.offer(&newer);
    let visitor = house.get(&path(NODE), &[("User-Agent", "curl/8.5.0")]);
    assert!(visitor.body == newer);
    is_beyond(&idf("bytes=4096-"), &newer);
}

#[test]
fn a_range_that_continues_an_unknown_download_is_refused() {
    // So it is after a restart: the node began with an image that nobody remembers.
    let house = House::new();
    let image = image32(1);
    house.offer(&image);
    let (old, old_sha) = (other_md5(0), Sha256::of(b"old").to_string());
    let updater = esp32(&old, &old_sha);
    let tag = house.head(&path(NODE)).header("etag").unwrap().to_owned();
    let idf = [("User-Agent", "ESP32 HTTP Client/1.0")];
    let file = format!("/files/{SLOT}/firmware.bin");
    for name in [path(NODE), file] {
        let ask =
            |who: &[(&str, &str)], more: &[(&str, &str)]| house.get(&name, &[who, more].concat());
        for who in [&idf[..], &updater, &[]] {
            is_beyond(&ask(who, &[("Range", "bytes=4096-")]), &image);
            is_beyond(&ask(who, &[("Range", "bytes=-16")]), &image);
        }
        for who in [&idf[..], &updater, &[]] {
            let sure = [("Range", "bytes=4096-"), ("If-Range", tag.as_str())];
            gives(&ask(who, &sure), &image, 4096, image.len());
        }
    }
}

#[test]
fn a_restart_does_not_join_two_images() {
    let house = House::new();
    let (image, newer) = (image32(1), image32(2));
    house.offer(&image);
    gives(&part(&house, "bytes=0-4095"), &image, 0, 4096);
    let at_once = "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"";
    let house = restarted(house, at_once, |house| {
        house.put_renamed(&format!("{SLOT}/firmware.bin"), &newer);
    });
    house.wait_served(NODE, &newer);
    is_beyond(&part(&house, "bytes=4096-"), &newer);
    gives(&part(&house, "bytes=0-4095"), &newer, 0, 4096);
    gives(&part(&house, "bytes=4096-"), &newer, 4096, newer.len());
    // Nobody can tell that nothing was replaced, so it begins anew as well.
    let house = restarted(house, at_once, |_| {});
    house.wait_served(NODE, &newer);
    is_beyond(&part(&house, "bytes=4096-"), &newer);
}

#[test]
fn a_program_of_a_person_continues_what_it_likes_until_it_is_known_to_be_wrong() {
    let house = House::new();
    let (image, newer) = (image32(1), image32(2));
    house.offer(&image);
    let curl = |range| {
        let agent = ("User-Agent", "curl/8.5.0");
        house.get(&path(NODE), &[agent, ("Range", range)])
    };
    gives(&curl("bytes=4096-"), &image, 4096, image.len());
    house.offer(&newer);
    is_beyond(&curl("bytes=4096-"), &newer);
}

#[test]
fn what_a_person_takes_says_nothing_of_what_a_device_began_with() {
    let house = House::new();
    let image = image32(1);
    house.offer(&image);
    let visitor = house.get(&path(NODE), &[("User-Agent", "curl/8.5.0")]);
    assert!(visitor.body == image);
    is_beyond(&part(&house, "bytes=4096-"), &image);
}

#[test]
fn an_image_that_comes_back_may_be_continued() {
    let house = House::new();
    let (image, newer) = (image32(1), image32(2));
    house.offer(&image);
    gives(&part(&house, "bytes=0-4095"), &image, 0, 4096);
    house.offer(&newer);
    house.offer(&image);
    gives(&part(&house, "bytes=4096-"), &image, 4096, image.len());
}

#[test]
fn a_kept_connection_gives_range_after_range() {
    let house = House::new();
    let image = image32(1);
    house.offer(&image);
    let mut plain = house.connect();
    let mut tls = house.connect_tls();
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for from in (0..image.len()).step_by(1000) {
        let range = format!("bytes={from}-{}", from + 999);
        let headers = [("Range", range.as_str())];
        one.extend(ask(&mut plain, &path(NODE), "HTTP/1.1", &headers).body);
        other.extend(ask(&mut tls, &path(NODE), "HTTP/1.1", &headers).body);
    }
    assert!(one == image && other == image);
    let not_found = ask(&mut plain, "/nowhere", "HTTP/1.1", &[]);
    assert_eq!(not_found.status, 404);
    assert_eq!(ask(&mut plain, &path(NODE), "HTTP/1.1", &[]).status, 200);
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let house = House::new();
    house.offer(&image8266(1));
    for target in [path(NODE), "/nowhere".to_owned(), "/healthz".to_owned()] {
        let mut stream = house.connect();
        let text = request(&target, "HTTP/1.0", &[("Content-Length", "0")]);
        stream.write_all(text.as_bytes()).unwrap();
        let answer = read_one(&mut stream);
        assert_eq!(answer.version, "HTTP/1.0");
        assert!(answer.header("transfer-encoding").is_none());
        is_closed(&mut stream);
    }
}

#[test]
fn sums_stand_beside_an_image() {
    let house = House::new();
    let image = image32(1);
    let base = path(NODE);
    for sum in ["md5", "sha256"] {
        let none = house.get(&format!("{base}/image.bin.{sum}"), &[]);
        assert_eq!(none.status, 404);
    }
    house.offer(&image);
    let (md5, sha256) = (Md5::of(&image).to_string(), Sha256::of(&image).to_string());
    for (at, wanted) in [
        (format!("{base}/image.bin.md5"), &md5),
        (format!("{base}/image.bin.sha256"), &sha256),
        (format!("/files/{SLOT}/firmware.bin.md5"), &md5),
        (format!("/files/{SLOT}/firmware.bin.sha256"), &sha256),
    ] {
        let answer = house.get(&at, &[]);
        assert_eq!(answer.status, 200, "{at}");
        let text = String::from_utf8(answer.body.clone()).unwrap();
        assert!(text.starts_with(wanted.as_str()), "{at}: {text}");
        assert_eq!(text.split_whitespace().nth(1), Some("firmware.bin"));
    }
    let answer = house.get(&format!("{base}/image.bin"), &[]);
    assert!(answer.body == image);
    assert_eq!(house.get(&format!("{base}/image.gz"), &[]).status, 404);
    assert!(house.get(&format!("{base}/"), &[]).body == image);
    assert_eq!(house.get(&format!("{base}//"), &[]).status, 404);
}
