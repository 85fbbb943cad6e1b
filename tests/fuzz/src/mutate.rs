//! Changes to inputs that are made of lines of JSON.
//!
//! Changes of single bytes nearly always give what is no JSON any more, which is refused at the door. What breaks promises further in is JSON in an order,
//! with names and of a shape that nobody thought of: a line that comes twice, an id that belongs to something else, a list where there was a text.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Value, json};

/// Values that are at the edge of something.
const EDGES: [&str; 12] =
    ["null", "true", "0", "-1", "18446744073709551615", "1e308", "0.12345678901234567890123", "\"\"", "\"main\"", "\"..\"", "[]", "{}"];

/// Deeper than a reader of JSON goes by default.
const DEEP: usize = 130;

/// A source of numbers that look random, from a seed.
struct Random(u64);

impl Random {
    /// A number below `end`; 0 if that is 0.
    fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> 33).unwrap_or(0) % end.max(1)
    }
}

/// For `fuzz_mutator!`: changes the first `size` bytes of `data`, and gives how many there are then.
pub fn lines(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed));
    // Bytes are changed now and then, for what is not JSON.
    if random.below(4) > 0
        && let Some(changed) = std::str::from_utf8(&data[..size]).ok().and_then(|text| change(text, &mut random))
        && changed.len() <= max_size
    {
        data[..changed.len()].copy_from_slice(changed.as_bytes());
        return changed.len();
    }
    fuzzer_mutate(data, size, max_size)
}

fn change(text: &str, random: &mut Random) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return None;
    }
    let (from, to) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(8) {
        0 => lines.insert(to, lines[from].clone()),
        1 => drop(lines.remove(from)),
        2 => lines.swap(from, to),
        _ => {
            let donor = serde_json::from_str(&lines[from]).unwrap_or_else(|_| edge(random));
            // What is before the JSON is kept.
            let start = lines[to].find(['{', '['])?;
            let mut value: Value = serde_json::from_str(&lines[to][start..]).ok()?;
            graft(&mut value, &donor, random);
            lines[to].truncate(start);
            lines[to].push_str(&value.to_string());
        }
    }
    let mut changed = lines.join("\n");
    changed.push('\n');
    Some(changed)
}

fn edge(random: &mut Random) -> Value {
    serde_json::from_str(EDGES[random.below(EDGES.len())]).unwrap_or_default()
}

/// Changes one value in `value`, most often to one that is in `donor`.
fn graft(value: &mut Value, donor: &Value, random: &mut Random) {
    let mut places = Vec::new();
    walk(value, &mut String::new(), &mut places);
    let mut others = Vec::new();
    walk(donor, &mut String::new(), &mut others);
    let place = &places[random.below(places.len())];
    // Half of the time a value of the same name, as that is where ids meet.
    let name = place.rsplit('/').next().unwrap_or_default();
    let same: Vec<&String> = others.iter().filter(|other| other.rsplit('/').next() == Some(name)).collect();
    let other = if !same.is_empty() && random.below(2) == 0 { same[random.below(same.len())] } else { &others[random.below(others.len())] };
    let new = match random.below(8) {
        0 => edge(random),
        1 => (0..DEEP - random.below(12)).fold(json!(1), |inner, _| Value::Array(vec![inner])),
        _ => donor.pointer(other).cloned().unwrap_or_default(),
    };
    let removes = random.below(6) == 0;
    if let Some((parent, name)) = place.rsplit_once('/').filter(|_| removes)
        && let Some(Value::Object(fields)) = value.pointer_mut(parent)
    {
        fields.remove(&unescaped(name));
    } else if let Some(place) = value.pointer_mut(place) {
        *place = new;
    }
}

fn unescaped(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

/// The JSON pointers of all values in `value`.
fn walk(value: &Value, place: &mut String, places: &mut Vec<String>) {
    places.push(place.clone());
    let length = place.len();
    let mut below = |name: &str, value: &Value| {
        place.push('/');
        place.push_str(&name.replace('~', "~0").replace('/', "~1"));
        walk(value, place, places);
        place.truncate(length);
    };
    match value {
        Value::Array(values) => values.iter().enumerate().for_each(|(index, value)| below(&index.to_string(), value)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| below(name, value)),
        _ => {}
    }
}
