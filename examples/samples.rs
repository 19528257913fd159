//! Writes the sample images that the repository ships: `cargo run --example samples -- ota`.
//!
//! The same bytes every time. `otatree::firmware::forge` says why no node runs them by accident.

use std::fs;
use std::path::{Path, PathBuf};

use otatree::firmware::forge::{Esp32, Esp8266, FLASH_16_MIB};

fn main() -> std::io::Result<()> {
    let root = std::env::args_os().nth(1).map(PathBuf::from);
    let Some(root) = root else {
        return Err(std::io::Error::other(
            "usage: cargo run --example samples -- <root of the tree>",
        ));
    };
    let esp8266 = Esp8266 {
        flash_size: FLASH_16_MIB,
        ..Esp8266::default()
    };
    let esp32 = Esp32 {
        version: "1.0.0",
        project: "sample",
        ..Esp32::default()
    };
    write(&root, "sample_esp8266", &esp8266.build())?;
    write(&root, "sample_esp32", &esp32.build())
}

fn write(root: &Path, key: &str, image: &[u8]) -> std::io::Result<()> {
    let slot = root.join("demo").join("+").join(key);
    fs::create_dir_all(&slot)?;
    let path = slot.join("firmware.bin");
    fs::write(&path, image)?;
    println!("{}: {} bytes", path.display(), image.len());
    Ok(())
}
