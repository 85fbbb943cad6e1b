//! Names of sessions, streams, profiles and workspace files as names in the directory, and back.
//!
//! Most names are what they are. What some file system cannot hold, or git does not take, is percent-encoded, whatever the system is: so a directory
//! can be carried to another one. Encoding is one to one, and what it gives is below the directory that it is joined to, whatever the name.
//!
//! | name | in the directory |
//! | --- | --- |
//! | a control character, one of `"*/:<>?\|` and the backslash, `%` | `%2A` |
//! | a dot or a space at the end, so also `.` and `..` | `..%2E` |
//! | a device of Windows (`nul`, `com1.txt`), what git keeps for itself (`.git`, `.gitignore`) | `%6Eul`, `%2Egit` |
//! | a capital, in ids only | `%41bc` |
//! | nothing | `%_` |
//! | more than a file system takes | `begin%/end`: a directory whose name ends with a lone `%`, and the rest in it |

use std::collections::BTreeSet;
use std::path::Path;

use agent_host_adapter::{Result, log};

use crate::disk;

/// Bytes of a name after which it is continued in a directory. File systems take 255, of which a suffix and the percent signs of both ends need some.
const LONGEST: usize = 240;

/// What means nothing.
const NOTHING: &str = "%_";

/// So often it may follow a name.
const NOTHINGS: usize = 3;

/// Names that Windows keeps for devices, with any extension; besides `COM` and `LPT` with a digit.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// What becomes of capitals.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Capitals {
    Kept,
    /// For names that are found again by nothing but themselves, on file systems that do not tell `a` from `A`.
    Encoded,
}

/// The name of a session, a stream or a profile.
pub(crate) fn of_id(id: &str) -> String {
    encode(id, Capitals::Encoded, 0)
}

/// The ids whose names, with this suffix, are in a directory.
pub(crate) fn ids(directory: &Path, suffix: &str) -> Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    collect(directory, "", suffix, &mut ids)?;
    Ok(ids)
}

/// Those that begin like this.
fn collect(directory: &Path, beginning: &str, suffix: &str, ids: &mut BTreeSet<String>) -> Result<()> {
    let there = if beginning.is_empty() { directory.to_owned() } else { directory.join(beginning) };
    for name in disk::names(&there)? {
        let name = format!("{beginning}{name}");
        if name.ends_with('%') {
            collect(directory, &format!("{name}/"), suffix, ids)?;
            continue;
        }
        match name.strip_suffix(suffix).and_then(to_id) {
            Some(id) => drop(ids.insert(id)),
            None => log::warn!("{} was not written by this adapter", directory.join(name).display()),
        }
    }
    Ok(())
}

/// The id that a name was made of; `None` if it was not made by [`of_id`].
fn to_id(name: &str) -> Option<String> {
    let id = decode(name)?;
    (of_id(&id) == name).then_some(id)
}

/// The path of a workspace file. Capitals are kept.
pub(crate) fn of_path(path: &str) -> String {
    let segments: Vec<_> = path.split('/').map(|segment| encode(segment, Capitals::Kept, 0)).collect();
    segments.join("/")
}

/// All names that a segment of the path of a workspace file may have, beginning with the usual one; the others are for where that is taken. Each of them
/// has one more character encoded that would not have to be; when all are, what means nothing follows.
pub(crate) fn of_segment(segment: &str) -> impl Iterator<Item = String> {
    let encoded = (0..=segment.chars().count()).map(|encoded| encode(segment, Capitals::Kept, encoded));
    let all = encode(segment, Capitals::Kept, usize::MAX);
    encoded.chain((1..=NOTHINGS).map(move |count| format!("{all}{}", NOTHING.repeat(count))))
}

/// A character, and whether it is encoded.
type Letter = (char, bool);

fn encode(name: &str, capitals: Capitals, encoded: usize) -> String {
    if name.is_empty() {
        return NOTHING.to_owned();
    }
    let mut pieces: Vec<Vec<Letter>> = vec![Vec::new()];
    let mut length = 0;
    for (index, character) in name.chars().enumerate() {
        let must = index < encoded || is_special(character) || (capitals == Capitals::Encoded && is_capital(character));
        let takes = character.len_utf8() * if must { 3 } else { 1 };
        if length + takes > LONGEST {
            pieces.push(Vec::new());
            length = 0;
        }
        length += takes;
        if let Some(piece) = pieces.last_mut() {
            piece.push((character, must));
        }
    }
    let written: Vec<_> = pieces.into_iter().map(write).collect();
    written.join("%/")
}

/// A piece of a name, whose ends are safe.
fn write(mut piece: Vec<Letter>) -> String {
    let text: String = piece.iter().map(|(character, _)| character).collect();
    if is_reserved(&text)
        && let Some((_, must)) = piece.first_mut()
    {
        *must = true;
    }
    // Windows drops them.
    if let Some((character, must)) = piece.last_mut() {
        *must |= matches!(character, '.' | ' ');
    }
    let mut written = String::with_capacity(text.len());
    for (character, must) in piece {
        if must {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                written.push('%');
                written.push(digit(byte >> 4));
                written.push(digit(byte & 0xf));
            }
        } else {
            written.push(character);
        }
    }
    written
}

fn digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'A' + value - 10 })
}

fn is_special(character: char) -> bool {
    character.is_ascii_control() || matches!(character, '"' | '*' | '/' | ':' | '<' | '>' | '?' | '\\' | '|' | '%')
}

fn is_capital(character: char) -> bool {
    !character.to_lowercase().eq([character])
}

fn is_reserved(name: &str) -> bool {
    let begins = |with: &str| name.get(..with.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(with));
    // Git takes no directory `.git` (or `git~1`, its short name on Windows), and reads `.gitignore` and `.gitattributes` wherever they are.
    if begins(".git") || begins("git~") {
        return true;
    }
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    let numbered =
        |digit: &str| digit.chars().count() == 1 && digit.contains(|digit: char| digit.is_ascii_digit() || "¹²³".contains(digit));
    let is_port = ["COM", "LPT"].iter().any(|port| begins(port)) && stem.get(3..).is_some_and(numbered);
    is_port || DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device))
}

fn decode(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        match rest.next()? {
            b'/' | b'_' => {}
            high => bytes.push(value(high)? << 4 | value(rest.next()?)?),
        }
    }
    String::from_utf8(bytes).ok()
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

    use super::*;

    #[test]
    fn usual_names_are_what_they_are() {
        for path in
            ["src/main.rs", "README.md", "ü/💡.txt", "a b", "-rf", "~", "...x", ".env", "console.log", "community.md", "com10", "e\u{301}"]
        {
            assert_eq!(of_path(path), path);
        }
        assert_eq!(of_id("3f2a9c1e-7b44-4e0d-9a51-0c2d4b6e8f10"), "3f2a9c1e-7b44-4e0d-9a51-0c2d4b6e8f10");
    }

    #[test]
    fn what_a_file_system_or_git_cannot_hold_is_encoded() {
        for (name, expected) in [
            ("", "%_"),
            (".", "%2E"),
            ("..", ".%2E"),
            ("...", "..%2E"),
            ("a.", "a%2E"),
            ("a ", "a%20"),
            ("a\0b\n", "a%00b%0A"),
            ("50%", "50%25"),
            ("%41", "%2541"),
            ("a\\b:c", "a%5Cb%3Ac"),
            ("NUL", "%4EUL"),
            ("nul.tar.gz", "%6Eul.tar.gz"),
            ("Com1 .txt", "%43om1 .txt"),
            ("lpt²", "%6Cpt²"),
            (".git", "%2Egit"),
            (".GitIgnore", "%2EGitIgnore"),
            ("git~1", "%67it~1"),
        ] {
            assert_eq!(of_path(name), expected, "{name:?}");
        }
        assert_eq!(of_path("/etc//../passwd"), "%_/etc/%_/.%2E/passwd");
        assert_eq!(of_id("../Ab/Ü"), "..%2F%41b%2F%C3%9C");
    }

    #[test]
    fn long_names_are_continued_in_directories() {
        let id = "A".repeat(128);
        let name = of_id(&id);
        assert_eq!(name, format!("{}%/{}", "%41".repeat(80), "%41".repeat(48)));
        assert_eq!(to_id(&name), Some(id));
        // A piece is as safe as a name.
        assert_eq!(of_path(&format!("{}nul", "x".repeat(240))), format!("{}%/%6Eul", "x".repeat(240)));
        assert_eq!(of_path(&format!("{}..", "x".repeat(240))), format!("{}%/.%2E", "x".repeat(240)));
    }

    #[test]
    fn a_segment_has_other_names() {
        let names: Vec<_> = of_segment("a.b").collect();
        assert_eq!(names, ["a.b", "%61.b", "%61%2Eb", "%61%2E%62", "%61%2E%62%_", "%61%2E%62%_%_", "%61%2E%62%_%_%_"]);
        assert_eq!(of_segment("").collect::<Vec<_>>(), ["%_", "%_%_", "%_%_%_", "%_%_%_%_"]);
    }

    #[test]
    fn ids_are_found_by_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let ids = ["a", "B", "..", &"X".repeat(128), &"X".repeat(100)].map(str::to_owned);
        for id in &ids {
            disk::ensure_directory(directory.path().join(of_id(id) + ".json").parent().unwrap()).unwrap();
            disk::create(&directory.path().join(of_id(id) + ".json"), b"").unwrap();
        }
        disk::create(&directory.path().join("Not ours.json"), b"").unwrap();
        disk::create(&directory.path().join("a.txt"), b"").unwrap();
        assert_eq!(super::ids(directory.path(), ".json").unwrap(), BTreeSet::from(ids));
    }

    #[test]
    fn names_that_are_not_ours_are_no_ids() {
        for name in ["%", "%4", "%4x", "a%", "A", "%61", "a.", "%2e", "%ff", "%_a", "nul"] {
            assert_eq!(to_id(name), None, "{name}");
        }
    }

    /// Names out of what is difficult, each drawn by its number.
    fn drawn(number: u64) -> String {
        const PARTS: [&str; 24] = [
            "a", "A", "b", ".", "..", " ", "%", "%41", "/", "\\", "\0", "\n", ":", "ü", "Ü", "💡", "nul", "CON", ".git", "com1", "_", "x",
            "-", "\u{7f}",
        ];
        let random = |of: u64| BuildHasherDefault::<DefaultHasher>::default().hash_one((number, of)) as usize;
        let name: String = (0..random(0) as u64 % 9).map(|place| PARTS[random(place + 1) % PARTS.len()]).collect();
        if number.is_multiple_of(7) { name.repeat(60) } else { name }
    }

    #[test]
    fn encoding_is_one_to_one_and_safe() {
        let mut names = HashSet::new();
        let mut encoded = HashSet::new();
        for number in 0..20_000 {
            let name = drawn(number);
            let id = of_id(&name);
            assert_eq!(to_id(&id).as_ref(), Some(&name));
            assert!(id.chars().all(|character| character == 'A' || !is_capital(character) || id.contains('%')), "{name:?} as {id:?}");
            for path in of_segment(&name).take(5).chain([id.clone(), of_path(&name)]) {
                assert_eq!(decode(&path).as_ref(), Some(&name));
                for part in path.split('/') {
                    assert!(!part.is_empty() && part.len() < 250 && part != "." && part != "..", "{name:?} as {path:?}");
                    assert!(!part.contains(is_special_but_percent) && !part.ends_with(['.', ' ']), "{name:?} as {path:?}");
                    assert!(!is_reserved(part), "{name:?} as {path:?}");
                }
            }
            let is_new = names.insert(name);
            // As on a file system that does not tell capitals.
            assert_eq!(encoded.insert(id.to_lowercase()), is_new);
        }
    }

    fn is_special_but_percent(character: char) -> bool {
        character != '%' && is_special(character)
    }
}
