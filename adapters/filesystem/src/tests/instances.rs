//! Two instances at once, as while one takes over from the other: what one has in memory is old after each write of the other.

use std::collections::BTreeMap;

use super::*;

/// Numbers that look random, always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What a session should be.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    epoch: u64,
    name: Option<String>,
    streams: BTreeMap<String, Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
}

fn seen(adapter: &FileSystem, id: &str) -> Option<Model> {
    let snapshot = adapter.load_session(id).unwrap()?;
    let stream = |name: &String| adapter.read(id, name, 0, MAX_READ_BYTES).unwrap();
    let content = |path: &String| adapter.read_file(id, path, 0, MAX_READ_BYTES).unwrap();
    Some(Model {
        epoch: snapshot.epoch,
        name: snapshot.session.name,
        streams: snapshot
            .streams
            .iter()
            .map(|there| (there.name.clone(), stream(&there.name)))
            .filter(|(_, bytes)| !bytes.is_empty())
            .collect(),
        files: snapshot.files.iter().map(|there| (there.path.clone(), content(&there.path))).collect(),
    })
}

#[test]
fn each_sees_what_the_other_has_written() {
    let mut store = Store::new();
    let mut instances = [store.another(), store.another()];
    let mut numbers = Numbers(1);
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    for round in 0..3000_u64 {
        let adapter = &mut instances[numbers.below(2) as usize];
        let id = format!("s{}", numbers.below(2));
        let Some(model) = models.get_mut(&id) else {
            adapter.create_session(1, record(&id, 1)).unwrap();
            models.insert(id, Model { epoch: 1, ..Model::default() });
            continue;
        };
        if numbers.below(20) == 0 {
            model.epoch += 1;
        }
        let data = vec![b'a' + (round % 26) as u8; numbers.below(9) as usize];
        let stream = ["events", MAIN, "transcript/x"][numbers.below(3) as usize].to_owned();
        let path = ["a", "b/c", "B", "b/d"][numbers.below(4) as usize].to_owned();
        match numbers.below(100) {
            0 => {
                adapter.delete_session(model.epoch, &id).unwrap();
                models.remove(&id);
            }
            1..50 => {
                let there = model.streams.entry(stream.clone()).or_default();
                let length = there.len() as u64;
                there.extend(&data);
                assert_eq!(adapter.append(model.epoch, &id, &stream, length, &data), Ok(there.len() as u64));
            }
            50..60 => {
                adapter.replace(model.epoch, &id, &stream, data.clone()).unwrap();
                model.streams.insert(stream, data);
            }
            60..80 => {
                adapter.save_file(model.epoch, &id, file(&path, &data), data.clone()).unwrap();
                model.files.insert(path, data);
            }
            80..90 => {
                adapter.delete_file(model.epoch, &id, &path).unwrap();
                model.files.remove(&path);
            }
            _ => {
                adapter.update_session(model.epoch, &id, renamed(&round.to_string())).unwrap();
                model.name = Some(round.to_string());
            }
        }
        if let Some(model) = models.get_mut(&id) {
            model.streams.retain(|_, bytes| !bytes.is_empty());
        }
        for adapter in &instances {
            assert_eq!(seen(adapter, &id), models.get(&id).cloned(), "session {id} after round {round}");
        }
        if round % 100 == 0 {
            let expected: Vec<_> = models.keys().rev().map(String::as_str).collect();
            for adapter in &instances {
                assert_eq!(ids(&adapter.list_sessions(None, 10).unwrap()), expected);
            }
        }
    }
    store.reopen();
    for (id, model) in models {
        assert_eq!(seen(&store.adapter, &id), Some(model), "session {id} when it is opened again");
    }
}

#[test]
fn the_same_write_in_both_has_the_effect_of_one() {
    let mut store = Store::with_session();
    let mut other = store.another();
    for round in 0..20_u64 {
        for adapter in [&mut store.adapter, &mut other] {
            assert_eq!(adapter.append(5, "s", "events", round * 3, b"abc"), Ok(round * 3 + 3));
            save(adapter, "a", round.to_string().as_bytes());
        }
    }
    assert_eq!(store.adapter.read("s", "events", 0, 100).unwrap(), b"abc".repeat(20));
    assert_eq!(other.read_file("s", "a", 0, 100).unwrap(), b"19");
}

#[test]
fn an_epoch_that_one_has_seen_holds_for_the_other() {
    let mut store = Store::with_session();
    let mut other = store.another();
    store.adapter.append(5, "s", "events", 0, b"abc").unwrap();
    other.update_session(7, "s", SessionChanges { last_activity: None, name: None, options: None, extra: None }).unwrap();
    assert_eq!(store.adapter.append(6, "s", "events", 3, b"x"), Err(Error::StaleEpoch(7)));
    assert_eq!(store.adapter.delete_session(6, "s"), Err(Error::StaleEpoch(7)));
}

#[test]
fn a_line_under_an_older_epoch_than_one_before_it_has_no_effect() {
    let mut store = Store::with_session();
    store.adapter.append(6, "s", "events", 0, b"abc").unwrap();
    // The other instance had looked before, and has written after.
    let path = store.path("sessions/s/index.jsonl");
    let line = "{\"at\":1,\"epoch\":5,\"change\":{\"stream\":{\"name\":\"events\",\"length\":1}}}\n";
    fs::write(&path, fs::read_to_string(&path).unwrap() + line).unwrap();
    for _ in 0..2 {
        assert_eq!((snapshot(&store.adapter).epoch, length(&store.adapter, "events")), (6, 3));
        store.reopen();
    }
}
