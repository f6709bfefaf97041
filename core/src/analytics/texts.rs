//! Texts that callers sent, as far as events keep them: a bounded number of bytes each, whatever the wire takes.
//!
//! What is beyond is cut where the event is made, so it fills neither the ring nor the log; the event says how many
//! bytes that was.

/// Bytes of all tags of a verification together.
const TAGS_BYTES: usize = 2048;
/// Bytes of any other text: an identifier, an external id, the name of a namespace, and of all that refused a
/// verification together.
const TEXT_BYTES: usize = 1024;

/// The tags of a verification.
#[derive(Debug, Default)]
pub struct Tags {
    /// As the verifier sent them, from the first one on, each once: an event is counted once for a tag. The last one may have
    /// lost its end.
    pub kept: Box<[Box<str>]>,
    /// Bytes that were cut.
    pub cut_bytes: u64,
}

/// What refused a verification: the names of limits, a permission query, or an address.
#[derive(Debug, Default)]
pub struct RefusedBy {
    /// From the first one on; the last one may have lost its end.
    pub kept: Box<[Box<str>]>,
    /// Bytes that were cut.
    pub cut_bytes: u64,
}

/// A text.
#[derive(Debug)]
pub struct KeptText {
    /// Its beginning, or all of it.
    pub kept: Box<str>,
    /// Bytes that were cut.
    pub cut_bytes: u64,
}

impl Tags {
    /// What is kept of these.
    pub fn of<'a>(sent: impl IntoIterator<Item = &'a str>) -> Self {
        let (kept, cut_bytes) = beginnings(sent, TAGS_BYTES);
        Tags { kept, cut_bytes }
    }
}

impl RefusedBy {
    /// What is kept of these.
    pub fn of<'a>(sent: impl IntoIterator<Item = &'a str>) -> Self {
        let (kept, cut_bytes) = beginnings(sent, TEXT_BYTES);
        RefusedBy { kept, cut_bytes }
    }
}

impl KeptText {
    /// What is kept of this one.
    pub fn of(sent: &str) -> Self {
        let (kept, cut_bytes) = kept(sent);
        KeptText { kept: kept.into(), cut_bytes }
    }
}

/// What events keep of a text, and how many bytes are beyond. Who looks for a text in events looks for this.
pub(super) fn kept(text: &str) -> (&str, u64) {
    beginning(text, TEXT_BYTES)
}

/// What there is room for of several texts together, each of them once, and how many bytes are beyond.
fn beginnings<'a>(sent: impl IntoIterator<Item = &'a str>, bytes: usize) -> (Box<[Box<str>]>, u64) {
    let (mut kept, mut room, mut cut_bytes) = (Vec::new(), bytes, 0);
    for text in sent {
        if kept.iter().map(Box::as_ref).any(|known: &str| known == text) {
            continue;
        }
        let (begin, cut) = beginning(text, room);
        cut_bytes += cut;
        // Of what follows one that was cut, nothing is kept: a shorter one would look like the next.
        room = if cut > 0 { 0 } else { room - begin.len() };
        if !begin.is_empty() {
            kept.push(Box::from(begin));
        }
    }
    (kept.into(), cut_bytes)
}

/// The longest beginning of whole characters within so many bytes, and how many bytes are beyond.
fn beginning(text: &str, bytes: usize) -> (&str, u64) {
    let kept = &text[..text.floor_char_boundary(bytes)];
    (kept, (text.len() - kept.len()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(sent: &[&str]) -> (Vec<usize>, u64) {
        let tags = Tags::of(sent.iter().copied());
        (tags.kept.iter().map(|tag| tag.len()).collect(), tags.cut_bytes)
    }

    #[test]
    fn tags_are_kept_from_the_first_on_while_there_is_room() {
        let [one, two, three] = ["x", "y", "z"].map(|text| text.repeat(1000));
        assert_eq!(tags(&[]), (vec![], 0));
        assert_eq!(tags(&["a", "b=1"]), (vec![1, 3], 0));
        assert_eq!(tags(&[&one, &two, &"y".repeat(48)]), (vec![1000, 1000, 48], 0));
        assert_eq!(tags(&[&one, &two, &three, "a"]), (vec![1000, 1000, 48], 953));
        assert_eq!(tags(&[&"🗝".repeat(513), "a"]), (vec![2048], 5));
    }

    #[test]
    fn a_tag_that_is_sent_again_is_no_other_tag() {
        let tags = Tags::of(["a", "b", "a", "A", "b"]);
        assert_eq!((&*tags.kept.iter().map(|tag| &**tag).collect::<String>(), tags.cut_bytes), ("abA", 0));
    }

    #[test]
    fn what_refused_has_a_bound_of_its_own() {
        let [one, other] = ["x", "y"].map(|text| text.repeat(700));
        let refused_by = RefusedBy::of([&*one, &*other]);
        assert_eq!((refused_by.kept.len(), refused_by.cut_bytes), (2, 376));
        assert_eq!(refused_by.kept[1].len(), 324);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(KeptText::of("user_1").cut_bytes, 0);
        let text = KeptText::of(&format!("x{}", "🗝".repeat(300)));
        assert_eq!((text.kept.len(), text.cut_bytes), (1021, 180));
    }
}
