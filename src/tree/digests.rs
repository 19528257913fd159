//! What was found out about files, kept in the state folder so that a restart does not hash an unchanged tree again.
//!
//! A text file, one JSON object a line, appended to while the server runs and written anew after the first scan, and at the
//! next sweep after it could not be written. It is a cache: a torn or foreign line costs one file to hash, nothing else. Keyed by path, inode, size and both times.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::firmware::{Defect, Facts, ImageKind, Sha256, Stamp, format};
use crate::health::Board;

use super::catalog::{Catalog, Known, Outcome};
use super::judge::Before;

/// First line; another one means another format, and the file is made anew.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Head {
    otatree_digests: u32,
    format: u32,
}

const HEAD: Head = Head {
    otatree_digests: 1,
    format: format::REVISION,
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Sound(PathBuf, ImageKind, Stamp, Box<Facts>),
    Defective(PathBuf, ImageKind, Stamp, Defect),
    Choice(PathBuf, ImageKind, Choice),
    Age(PathBuf, ImageKind, Age),
}

/// What a slot remembers for the rules about the age of its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Age {
    /// The image that a person ordered, whatever its age.
    pub ordered: Option<Sha256>,
    /// When the image was signed that was offered last, where its org has public keys.
    #[serde(default)]
    pub signed_at: u64,
}

/// What a slot with several files had chosen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Choice {
    /// The file.
    pub name: Box<str>,
    /// Its id.
    pub id: Option<Sha256>,
    /// Ids that took part.
    pub rivals: Box<[Sha256]>,
}

impl Choice {
    /// The part of it that a verdict asks for.
    #[must_use]
    pub fn before(&self) -> Before {
        Before {
            name: self.name.clone(),
            id: self.id,
        }
    }
}

/// The cache.
pub struct Digests {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    /// From the last run, until every folder was read once.
    old: HashMap<PathBuf, (ImageKind, Stamp, Outcome)>,
    choices: HashMap<(PathBuf, ImageKind), Choice>,
    ages: HashMap<(PathBuf, ImageKind), Age>,
    /// The file says what is known and nothing else, so it need not be written anew.
    exact: bool,
    /// It could not be written, and that is on the board.
    failed: bool,
    board: Arc<Board>,
    /// What was found of texts: of thousands of images nearly all say the same.
    texts: HashSet<Arc<BTreeMap<Box<str>, bool>>>,
}

impl Digests {
    /// Reads what the last run left. Never fails: what cannot be read is found out again.
    #[must_use]
    pub fn load(path: PathBuf, board: Arc<Board>) -> Self {
        let mut digests = Self {
            path,
            file: None,
            old: HashMap::new(),
            choices: HashMap::new(),
            ages: HashMap::new(),
            exact: false,
            failed: false,
            board,
            texts: HashSet::new(),
        };
        match digests.read() {
            Ok(0) => {}
            Ok(broken) => tracing::warn!(
                broken,
                "some lines of the digest cache are broken; those files are hashed again"
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, "the digest cache cannot be read; all files are hashed again")
            }
        }
        digests
    }

    /// Lets the facts share what they say of texts with all that say the same.
    pub fn share_texts(&mut self, facts: &mut Facts) {
        match self.texts.get(&facts.texts) {
            Some(known) => facts.texts = known.clone(),
            None => drop(self.texts.insert(facts.texts.clone())),
        }
    }

    fn entries(&self) -> usize {
        self.old.len() + self.choices.len() + self.ages.len()
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut reader = BufReader::with_capacity(1 << 18, File::open(&self.path)?);
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        let head: Head = serde_json::from_slice(&line)?;
        if head.otatree_digests != HEAD.otatree_digests {
            return Err(io::Error::other("it is of another version"));
        }
        // What the bytes say is found anew after a change of the examination; what was chosen is not a finding.
        let current = head == HEAD;
        let (mut lines, mut broken) = (0, 0);
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                // Fewer entries than lines: some are there twice.
                self.exact = current && self.entries() == lines;
                return Ok(broken);
            }
            // A last line without its end is none: what is appended would be joined to it.
            lines += if line.ends_with(b"\n") { 1 } else { 2 };
            match serde_json::from_slice(&line) {
                Ok(Line::Sound(..) | Line::Defective(..)) if !current => {}
                Ok(Line::Sound(path, kind, stamp, mut facts)) => {
                    self.share_texts(&mut facts);
                    self.old
                        .insert(path, (kind, stamp, Outcome::Sound(Arc::from(facts))));
                }
                Ok(Line::Defective(path, kind, stamp, defect)) => {
                    self.old
                        .insert(path, (kind, stamp, Outcome::Defective(Arc::new(defect))));
                }
                Ok(Line::Choice(path, kind, choice)) => {
                    self.choices.insert((path, kind), choice);
                }
                Ok(Line::Age(path, kind, age)) => {
                    self.ages.insert((path, kind), age);
                }
                Err(_) => broken += 1,
            }
        }
    }

    /// What the last run found out about this very file.
    #[must_use]
    pub fn take(&mut self, path: &Path, kind: ImageKind, stamp: Stamp) -> Option<Outcome> {
        let (old_kind, old_stamp, _) = self.old.get(path)?;
        if *old_kind != kind || *old_stamp != stamp {
            return None;
        }
        self.old.remove(path).map(|(.., outcome)| outcome)
    }

    /// What a slot had chosen, in this run or the last one.
    #[must_use]
    pub fn choice(&self, slot: &Path, kind: ImageKind) -> Option<&Choice> {
        if self.choices.is_empty() {
            return None;
        }
        self.choices.get(&(slot.to_owned(), kind))
    }

    /// Notes what a slot with several files has chosen.
    pub fn choose(&mut self, slot: &Path, kind: ImageKind, choice: Choice) {
        self.append(&Line::Choice(slot.to_owned(), kind, choice.clone()));
        self.choices.insert((slot.to_owned(), kind), choice);
    }

    /// What a slot remembers of the age of its images.
    #[must_use]
    pub fn age(&self, slot: &Path, kind: ImageKind) -> Age {
        if self.ages.is_empty() {
            return Age::default();
        }
        let age = self.ages.get(&(slot.to_owned(), kind));
        age.copied().unwrap_or_default()
    }

    /// Notes it anew.
    pub fn set_age(&mut self, slot: &Path, kind: ImageKind, age: Age) {
        if self.age(slot, kind) != age {
            self.append(&Line::Age(slot.to_owned(), kind, age));
            self.ages.insert((slot.to_owned(), kind), age);
        }
    }

    /// Notes what a file was found to be. Racy and unreadable files are not for the cache.
    pub fn add(&mut self, path: &Path, file: &Known) {
        if let Some(line) = line(path, file) {
            self.append(&line);
        }
    }

    fn append(&mut self, line: &Line) {
        let result = match &mut self.file {
            Some(file) => write_line(file, line),
            // Nothing is appended before the first scan is over: the file may have to be written anew.
            None => {
                self.exact = false;
                Ok(())
            }
        };
        if let Err(error) = result {
            self.fail(&error);
        }
    }

    /// Puts what was noted on disk, as far as it is cheap.
    pub fn flush(&mut self) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.flush()
        {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.file = None;
        self.failed = true;
        self.board.trouble(
            "digest-cache",
            Some(format!(
                "{} cannot be written ({error}): a restart will hash files again; it is tried again at the next sweep",
                self.path.display()
            )),
        );
    }

    /// Makes the file anew after it could not be written. Does nothing while all is well.
    pub fn try_again(&mut self, catalog: &Catalog) {
        if self.failed {
            self.go_on(false, catalog);
        }
    }

    /// Forgets the last run. Says whether its file still holds, line by line, what is known.
    pub fn forget(&mut self) -> bool {
        let all_taken = self.old.is_empty();
        self.old = HashMap::new();
        all_taken && self.exact
    }

    /// Appends to the file from now on: to the old one where it is `exact`, else to one made anew from the catalogue.
    pub fn go_on(&mut self, exact: bool, catalog: &Catalog) {
        let file = if exact {
            self.append_to()
        } else {
            self.write_anew(catalog)
        };
        match file {
            Ok(file) => {
                self.file = Some(file);
                self.failed = false;
                self.board.trouble("digest-cache", None);
            }
            Err(error) => self.fail(&error),
        }
    }

    fn append_to(&self) -> io::Result<BufWriter<File>> {
        Ok(BufWriter::new(
            OpenOptions::new().append(true).open(&self.path)?,
        ))
    }

    fn write_anew(&self, catalog: &Catalog) -> io::Result<BufWriter<File>> {
        let new = self.path.with_extension("new");
        let written = self
            .write_to(&new, catalog)
            .and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            // Half a file would only take room on a disk that has none; the first error is the one to say.
            let _ = fs::remove_file(&new);
        }
        written.and_then(|()| self.append_to())
    }

    fn write_to(&self, new: &Path, catalog: &Catalog) -> io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 18, File::create(new)?);
        write_line(&mut file, &HEAD)?;
        let mut result = Ok(());
        catalog.visit(|folder, content| {
            for known in &content.files {
                if let (Ok(()), Some(line)) = (&result, line(&folder.join(&*known.name), known)) {
                    result = write_line(&mut file, &line);
                }
            }
        });
        result?;
        for ((slot, kind), choice) in &self.choices {
            if catalog.at(slot).is_some() {
                write_line(
                    &mut file,
                    &Line::Choice(slot.clone(), *kind, choice.clone()),
                )?;
            }
        }
        // These outlive their folder: what was removed and comes back is no younger.
        for ((slot, kind), age) in &self.ages {
            write_line(&mut file, &Line::Age(slot.clone(), *kind, *age))?;
        }
        file.flush()
    }
}

fn line(path: &Path, file: &Known) -> Option<Line> {
    if file.racy {
        return None;
    }
    let (path, kind, stamp) = (path.to_owned(), file.kind, file.stamp);
    match &file.outcome {
        Outcome::Sound(facts) => Some(Line::Sound(
            path,
            kind,
            stamp,
            Box::new(Facts::clone(facts)),
        )),
        Outcome::Defective(defect) => {
            Some(Line::Defective(path, kind, stamp, Defect::clone(defect)))
        }
        Outcome::Pending | Outcome::Unreadable(_) => None,
    }
}

fn write_line(file: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_is_said_and_the_next_sweep_makes_the_file_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("digests.jsonl");
        let board = Arc::new(Board::new());
        let catalog = Catalog::default();
        let mut digests = Digests::load(path.clone(), board.clone());
        digests.go_on(false, &catalog);
        assert!(path.exists() && board.now().is_empty());

        let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
        digests.file = Some(BufWriter::new(full));
        let choice = Choice {
            name: "firmware.bin".into(),
            id: None,
            rivals: Box::new([]),
        };
        digests.choose(Path::new("dev/key"), ImageKind::Firmware, choice);
        digests.flush();
        assert!(board.now()["digest-cache"].contains("digests.jsonl cannot be written"));

        fs::remove_file(&path).unwrap();
        digests.try_again(&catalog);
        assert!(path.exists() && board.now().is_empty() && digests.file.is_some());
        assert!(!path.with_extension("new").exists());
    }
}
