//! Whatever is in a file of the journal: what is found is whole and in order, can be read again and written again, and what is damaged costs nothing else.
#![no_main]

use std::io::Cursor;

use agent_host_journal::record::{Contents, FILE_HEADER_BYTES, Head, encode, read_again, recover};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match rewritten(&data[..size], seed) {
        // Records that are whole, and hold something else.
        Some(file) if !seed.is_multiple_of(3) && file.len() <= max_size => {
            data[..file.len()].copy_from_slice(&file);
            file.len()
        }
        // Damage.
        _ => fuzzer_mutate(data, size, max_size),
    }
});

fn contents(file: &[u8]) -> Option<Contents> {
    recover(&mut Cursor::new(file)).expect("memory can be read")
}

/// The same file with another body, or another head, in one of its records; or with one of them twice.
fn rewritten(file: &[u8], seed: u32) -> Option<Vec<u8>> {
    let Contents { marker, records, .. } = contents(file)?;
    let chosen = seed as usize / 3 % records.len().max(1);
    let mut rewritten = marker.file_header();
    for (number, found) in records.iter().enumerate() {
        let mut head = found.head.clone();
        let mut body = read_again(&mut Cursor::new(file), marker, found).ok()?.to_vec();
        if number == chosen {
            match seed / 64 % 3 {
                0 => body = mutated(body),
                1 => {
                    let json = mutated(serde_json::to_vec(&head).ok()?);
                    head = serde_json::from_slice::<Head>(&json).unwrap_or(head);
                }
                _ => rewritten.extend(encode(marker, &head, &body).ok()?),
            }
        }
        rewritten.extend(encode(marker, &head, &body).ok()?);
    }
    Some(rewritten)
}

fn mutated(mut bytes: Vec<u8>) -> Vec<u8> {
    let (size, max_size) = (bytes.len(), bytes.len() + 64);
    bytes.resize(max_size, 0);
    let size = fuzzer_mutate(&mut bytes, size, max_size);
    bytes.truncate(size);
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some(found) = contents(data) else { return };
    let mut end = FILE_HEADER_BYTES;
    let mut damaged = found.damaged.iter();
    let mut again = found.marker.file_header();
    for record in &found.records {
        if record.place.start != end {
            assert_eq!(damaged.next(), Some(&(end..record.place.start)), "what is between records is told, with its place");
        }
        end = record.place.end;
        assert!(record.place.start < record.body.start && record.body.end == record.place.end);
        let body = read_again(&mut Cursor::new(data), found.marker, record).expect("what was found can be read");
        assert_eq!(body.len() as u64, record.body.end - record.body.start);
        again.extend(encode(found.marker, &record.head, &body).expect("what was read can be written"));
    }
    assert_eq!(damaged.next(), None);
    assert!(found.end == end && end <= data.len() as u64);

    let whole = contents(&again).expect("what was written is a journal");
    assert!(whole.damaged.is_empty() && whole.end == again.len() as u64);
    assert!(whole.records.iter().map(|record| &record.head).eq(found.records.iter().map(|record| &record.head)), "it says the same");

    // What was not written to its end costs nothing before it.
    let Some(last) = whole.records.last() else { return };
    let torn = contents(&again[..again.len() - 1]).expect("it is a journal still");
    assert_eq!(torn.records[..], whole.records[..whole.records.len() - 1]);
    assert_eq!(torn.end, last.place.start);

    // A byte that is damaged costs its record.
    let first = whole.records.first().unwrap_or(last);
    let at = first.place.start + (data.len() as u64 * 7) % (first.place.end - first.place.start);
    again[usize::try_from(at).expect("it is in memory")] ^= 1 << (data.len() % 8);
    let rest = contents(&again).expect("it is a journal still");
    assert_eq!(rest.records[..], whole.records[1..]);
});
