//! How text crosses the line between the driver and the shell: words without whitespace in them.

/// `text` as segments, joined by blanks: each a word with the whitespace behind it, the first perhaps whitespace alone.
/// Whitespace, backslashes and NULs are `\0` and three octal digits.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + text.len() / 2);
    let mut after_space = false;
    for character in text.chars() {
        let is_space = character.is_ascii_whitespace() || character == '\u{b}';
        if after_space && !is_space {
            encoded.push(' ');
        }
        after_space = is_space;
        if is_space || matches!(character, '\\' | '\0') {
            encoded.push_str(&format!("\\0{:03o}", u32::from(character)));
        } else {
            encoded.push(character);
        }
    }
    encoded
}

/// `text` as one word, perhaps an empty one.
pub(super) fn encode_word(text: &str) -> String {
    // What was a blank is octal by now.
    encode(text).replace(' ', "")
}

/// What `encode` was given; the blanks between segments are left out.
pub(super) fn decode(encoded: &str) -> String {
    let mut text = String::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let octal = after.strip_prefix('0').and_then(|after| after.get(..3));
        match octal.and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                text.push(char::from(byte));
                rest = after.get(4..).unwrap_or_default();
            }
            // Not of our making: it is shown as it is.
            None => {
                text.push('\\');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back() {
        for text in ["", " ", "a", "  a\t b\n\nc ", "\\n \\0040 \\", "%s -n * \"'$(x)`", "💡 ü\u{b}\0\r\n", "\\\\0\\"] {
            let encoded = encode(text);
            assert!(!encoded.contains(['\n', '\r', '\t', '\0']), "{encoded:?}");
            let decoded: String = encoded.split(' ').map(decode).collect();
            assert_eq!(decoded, text);
        }
    }

    #[test]
    fn a_segment_is_a_word_with_the_whitespace_behind_it() {
        assert_eq!(encode(" a  b\\c\n"), "\\0040 a\\0040\\0040 b\\0134c\\0012");
    }
}
