use std::io::Cursor;

use agent_host_session::record::StreamName;

use super::*;

fn heads() -> Vec<(Head, Vec<u8>)> {
    let epoch = Epoch(7);
    let path = RelativePath::new("src/\u{1f980}.rs").unwrap();
    let file = FileInfo {
        path: path.clone(),
        size: 3,
        sha256: Some("0".repeat(64)),
        created_at: Timestamp::from_millis(1),
        modified_at: Timestamp::from_millis(2),
    };
    let options = Options::from_iter([("model".to_owned(), "x".into())]);
    let changes = RecordChanges { last_activity: Some(Timestamp::from_millis(5)), name: None, options: Some(options), origin: None };
    vec![
        (Head::append(epoch, &StreamName::TranscriptMain, 0), b"{\"a\":1}\n".to_vec()),
        (Head::SaveFile { epoch, file }, vec![0, 255, 254]),
        (Head::append(epoch, &StreamName::Events, u64::from(u32::MAX) * 4), vec![b'x'; 100]),
        (Head::DeleteFile { epoch, path }, Vec::new()),
        (Head::Update { epoch, changes: Changes::from(&changes) }, Vec::new()),
        (Head::replace(epoch, &StreamName::TranscriptSubagent("abc".to_owned())), Vec::new()),
    ]
}

/// A file with all kinds of records, and where these end.
fn file(marker: Marker) -> (Vec<u8>, Vec<u64>) {
    let mut file = marker.file_header();
    let ends = heads().into_iter().map(|(head, body)| {
        file.extend(encode(marker, &head, &body).unwrap());
        file.len() as u64
    });
    let ends = ends.collect();
    (file, ends)
}

fn recovered(file: &[u8]) -> Contents {
    recover(&mut Cursor::new(file)).unwrap().unwrap()
}

fn heads_of(contents: &Contents) -> Vec<Head> {
    contents.records.iter().map(|found| found.head.clone()).collect()
}

#[test]
fn what_was_written_is_found_with_its_bytes() {
    let marker = Marker::random();
    let (file, ends) = file(marker);
    let contents = recovered(&file);
    assert_eq!(contents.end, file.len() as u64);
    assert!(contents.damaged.is_empty());
    assert_eq!(contents.records.iter().map(|found| found.place.end).collect::<Vec<_>>(), ends);
    for (found, (head, body)) in contents.records.iter().zip(heads()) {
        assert_eq!(found.head, head);
        assert_eq!(read_again(&mut Cursor::new(&file), marker, found).unwrap(), body);
    }
}

#[test]
fn a_record_may_be_larger_than_what_is_read_at_once() {
    let (marker, head) = (Marker::random(), Head::append(Epoch(1), &StreamName::Events, 0));
    let body: Vec<u8> = (0..3 * PIECE + 7).map(|index| (index % 251) as u8).collect();
    let file = [marker.file_header(), encode(marker, &head, &body).unwrap()].concat();
    let contents = recovered(&file);
    assert_eq!(read_again(&mut Cursor::new(&file), marker, &contents.records[0]).unwrap(), body);
}

#[test]
fn a_record_that_was_not_written_to_its_end_is_cut_off() {
    let (file, ends) = file(Marker::random());
    let before_last = ends[ends.len() - 2];
    for length in before_last..file.len() as u64 {
        let contents = recovered(&file[..length as usize]);
        assert_eq!(contents.end, before_last, "at {length}");
        assert_eq!(contents.records.len(), heads().len() - 1);
        assert!(contents.damaged.is_empty());
    }
}

#[test]
fn a_damaged_record_in_the_middle_is_reported_with_its_place_and_the_others_are_found() {
    let (file, ends) = file(Marker::random());
    let all = heads_of(&recovered(&file));
    // Every byte of the second record, which is a short one.
    for at in ends[0]..ends[1] {
        let mut file = file.clone();
        file[at as usize] ^= 0x10;
        let contents = recovered(&file);
        assert_eq!(contents.damaged, std::slice::from_ref(&(ends[0]..ends[1])), "at {at}");
        assert_eq!(heads_of(&contents), [&all[..1], &all[2..]].concat());
        assert_eq!(contents.end, file.len() as u64);
    }
}

#[test]
fn records_inside_a_file_that_is_stored_are_not_taken_for_records() {
    let marker = Marker::random();
    let (other, _) = file(Marker::random());
    let head = Head::append(Epoch(1), &StreamName::Events, 0);
    let mut file = [marker.file_header(), encode(marker, &head, &other).unwrap()].concat();
    // It is damaged, so that its body is looked through.
    file[FILE_HEADER_BYTES as usize + 20] ^= 1;
    let at = file.len() as u64;
    file.extend(encode(marker, &head, b"next").unwrap());
    let contents = recovered(&file);
    assert_eq!(contents.records.len(), 1);
    assert_eq!(contents.damaged, std::slice::from_ref(&(FILE_HEADER_BYTES..at)));
}

#[test]
fn a_marker_across_two_pieces_is_found() {
    let marker = Marker::random();
    let head = Head::append(Epoch(1), &StreamName::Events, 0);
    for shift in 0..40 {
        let garbage = vec![b'-'; PIECE - 20 + shift];
        let file = [marker.file_header(), garbage, encode(marker, &head, b"x").unwrap()].concat();
        assert_eq!(recovered(&file).records.len(), 1, "shifted by {shift}");
    }
}

#[test]
fn what_is_no_journal_is_told_apart() {
    for file in [&b""[..], b"agent-host journal 1\n", b"agent-host journal 2\n0123456789abcdef", &[0; 100]] {
        assert_eq!(recover(&mut Cursor::new(file)).unwrap(), None);
    }
}

#[test]
fn a_record_that_was_damaged_since_is_not_given() {
    let marker = Marker::random();
    let (mut file, _) = file(marker);
    let found = recovered(&file).records.remove(0);
    let last = file[found.place.end as usize - 1];
    file[found.place.end as usize - 1] = !last;
    assert!(read_again(&mut Cursor::new(&file), marker, &found).is_err());
}

/// What was written by version 1 is read for ever.
#[test]
fn records_of_version_1_are_read() {
    let file = include_bytes!("version-1.journal");
    let contents = recovered(file);
    assert_eq!(heads_of(&contents), heads().into_iter().map(|(head, _)| head).collect::<Vec<_>>());
    assert_eq!(contents.end, file.len() as u64);
}
