//! What the first bytes of a file tell, and whether its last ones are there.

use super::Problem;

/// What every WebAssembly file begins with.
const MAGIC: &[u8; 4] = b"\0asm";

/// The number that follows, of core modules and of components.
const MODULE: u32 = 0x1;
const COMPONENT: u32 = 0x1_000d;

/// The two together.
const HEADER_BYTES: usize = 8;

/// Checks that it is a component, as far as can be seen from outside, and all of it.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Problem> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return Err(Problem::NotWebAssembly) };
    let size = bytes.len();
    let Some(version) = rest.first_chunk().copied().map(u32::from_le_bytes) else {
        return Err(Problem::Truncated { size, begins: 0, ends: HEADER_BYTES });
    };
    match version {
        COMPONENT => {}
        MODULE => return Err(Problem::CoreModule),
        version => return Err(Problem::UnknownFormat { version }),
    }
    let mut begins = HEADER_BYTES;
    while begins < size {
        // A part is a byte that says what it is, its length, and so many bytes.
        let (length, length_bytes) = match bytes.get(begins + 1..).map(length) {
            Some(Length::Is(length, bytes)) => (length, bytes),
            Some(Length::CutShort) | None => return Err(Problem::Truncated { size, begins, ends: size + 1 }),
            // That is for the compiler to say.
            Some(Length::Wrong) => return Ok(()),
        };
        let ends = begins + 1 + length_bytes + length as usize;
        if ends > size {
            return Err(Problem::Truncated { size, begins, ends });
        }
        begins = ends;
    }
    Ok(())
}

enum Length {
    /// The number, and how many bytes it takes.
    Is(u32, usize),
    CutShort,
    Wrong,
}

/// A number in LEB128, of at most 32 bits.
fn length(bytes: &[u8]) -> Length {
    let mut number: u64 = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return u32::try_from(number).map_or(Length::Wrong, |number| Length::Is(number, index + 1));
        }
    }
    if bytes.len() < 5 { Length::CutShort } else { Length::Wrong }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_beginning_and_its_end() {
        let header = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
        let with = |rest: &[u8]| [&header[..], rest].concat();
        assert_eq!(check(b""), Err(Problem::NotWebAssembly));
        assert_eq!(check(b"#!/bin/sh"), Err(Problem::NotWebAssembly));
        assert_eq!(check(b"\0asm\x0d"), Err(Problem::Truncated { size: 5, begins: 0, ends: 8 }));
        assert_eq!(check(b"\0asm\x01\0\0\0"), Err(Problem::CoreModule));
        assert_eq!(check(b"\0asm\x02\0\0\0"), Err(Problem::UnknownFormat { version: 2 }));
        assert_eq!(check(&header), Ok(()));
        assert_eq!(check(&with(&[0, 2, 1, b'x'])), Ok(()));
        assert_eq!(check(&with(&[0, 2, 1])), Err(Problem::Truncated { size: 11, begins: 8, ends: 12 }));
        assert_eq!(check(&with(&[0, 0x80])), Err(Problem::Truncated { size: 10, begins: 8, ends: 11 }));
        assert_eq!(check(&with(&[0])), Err(Problem::Truncated { size: 9, begins: 8, ends: 10 }));
        assert_eq!(
            check(&with(&[0, 1, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f])),
            Err(Problem::Truncated { size: 17, begins: 11, ends: 17 + 0xffff_ffff })
        );
    }
}
