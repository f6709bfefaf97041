//! URN permissions: `unkey:v1:<workspaceId>:<path>#<action>`.
//!
//! In a grant a whole segment `*` matches any one segment and a final `**` any remaining tail,
//! including none. The action must be equal, or be `*`, which is only legal on the path `**`.

use std::fmt;

/// A parsed URN, as a grant or as a requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Urn {
    pub(super) workspace_id: String,
    pub(super) segments: Vec<String>,
    pub(super) action: String,
}

impl fmt::Display for Urn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unkey:v1:{}:{}#{}", self.workspace_id, self.segments.join("/"), self.action)
    }
}

impl Urn {
    /// Parses a URN by the rules for grants; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Urn> {
        let (resource, action) = text.split_once('#')?;
        let mut parts = resource.splitn(4, ':');
        let (unkey, version, workspace_id, path) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        let last = segments.len() - 1;
        let well_formed = unkey == "unkey"
            && version == "v1"
            && !workspace_id.is_empty()
            && !workspace_id.contains('/')
            && segments.iter().enumerate().all(|(at, segment)| is_segment(segment, at == last))
            && is_action(action, path == "**");
        well_formed.then(|| Urn { workspace_id: workspace_id.to_owned(), segments, action: action.to_owned() })
    }

    /// Whether this grant is full access to its workspace.
    pub(super) fn is_full_access(&self) -> bool {
        self.segments == ["**"] && self.action == "*"
    }

    /// The first segment of the path, such as `keyspaces`.
    pub(super) fn root(&self) -> &str {
        &self.segments[0]
    }

    /// The segments that name something, and the action unless it is `*`.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let segments = self.segments.iter().map(String::as_str).chain([self.action.as_str()]);
        segments.filter(|segment| !matches!(*segment, "*" | "**"))
    }

    /// Whether this grant satisfies `required`. A required `*` stands for things that do not exist yet:
    /// only a granted `*` or an enclosing `**` covers it, not a concrete id.
    pub(super) fn covers(&self, required: &Urn) -> bool {
        self.matches(required, is_met)
    }

    /// Whether this grant could satisfy `required` once its placeholders (`{keySpaceId}`) are filled.
    pub(super) fn could_cover(&self, required: &Urn) -> bool {
        self.matches(required, |granted, required| is_met(granted, required) || required.starts_with('{'))
    }

    fn matches(&self, required: &Urn, segment: impl Fn(&str, &str) -> bool) -> bool {
        if self.workspace_id != required.workspace_id {
            return false;
        }
        if self.action != "*" && self.action != required.action {
            return false;
        }
        match self.segments.split_last() {
            Some((tail, head)) if tail == "**" => {
                required.segments.len() >= head.len() && zip_all(head, &required.segments, segment)
            }
            _ => {
                self.segments.len() == required.segments.len()
                    && zip_all(&self.segments, &required.segments, segment)
            }
        }
    }
}

/// Whether a granted segment meets a required one. A required `**` is a tail of any length, which no single
/// segment meets but its equal.
fn is_met(granted: &str, required: &str) -> bool {
    granted == required || (granted == "*" && required != "**")
}

fn zip_all(granted: &[String], required: &[String], segment: impl Fn(&str, &str) -> bool) -> bool {
    granted.iter().zip(required).all(|(granted, required)| segment(granted, required))
}

fn is_segment(segment: &str, is_last: bool) -> bool {
    match segment {
        "*" => true,
        "**" => is_last,
        _ => !segment.is_empty() && !segment.contains([':', '#', '*']),
    }
}

fn is_action(action: &str, on_everything: bool) -> bool {
    if action == "*" {
        return on_everything;
    }
    !action.is_empty()
        && !action.contains([':', '#', '/', '*'])
        && !action.starts_with('_')
        && !action.ends_with('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_break_a_rule_do_not_parse() {
        for text in [
            "api.*.read_key",
            "unkey:v2:ws:keyspaces#read",
            "other:v1:ws:keyspaces#read",
            "unkey:v1::keyspaces#read",
            "unkey:v1:ws:#read",
            "unkey:v1:ws:a//b#read",
            "unkey:v1:ws:a/**/b#read",
            "unkey:v1:ws:a*/b#read",
            "unkey:v1:ws:a:b#read",
            "unkey:v1:ws:a#b#read",
            "unkey:v1:ws:a#",
            "unkey:v1:ws:a#_read",
            "unkey:v1:ws:a#read_",
            "unkey:v1:ws:a/**#*",
            "unkey:v1:ws:keyspaces",
        ] {
            assert_eq!(Urn::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_star_matches_one_segment_and_two_stars_a_tail() {
        for (granted, required, covered) in [
            ("keyspaces/*/keys/*#read_key", "keyspaces/ks_1/keys/key_1#read_key", true),
            ("keyspaces/*#read_key", "keyspaces/ks_1/keys/key_1#read_key", false),
            ("keyspaces/**#read_key", "keyspaces/ks_1/keys/key_1#read_key", true),
            ("keyspaces/ks_1/**#read_key", "keyspaces/ks_1#read_key", true),
            ("keyspaces/ks_1/keys/key_1#read_key", "keyspaces/ks_1/keys/*#read_key", false),
            ("keyspaces/ks_1/keys/*#read_key", "keyspaces/ks_1/keys/*#read_key", true),
            ("keyspaces/ks_1/keys/*#update_key", "keyspaces/ks_1/keys/*#read_key", false),
            ("**#*", "keyspaces/ks_1#create_key", true),
            ("**#read_key", "keyspaces/ks_1#create_key", false),
            ("keyspaces/*#read_key", "keyspaces/**#read_key", false),
            ("keyspaces/*/**#read_key", "keyspaces/**#read_key", false),
            ("keyspaces/**#read_key", "keyspaces/*/keys/**#read_key", true),
            ("keyspaces/**#read_key", "keyspaces/**#read_key", true),
        ] {
            assert_eq!(urn(granted).covers(&urn(required)), covered, "{granted} over {required}");
        }
    }

    fn urn(rest: &str) -> Urn {
        Urn::parse(&format!("unkey:v1:ws_1:{rest}")).unwrap()
    }

    /// All paths of up to `most` segments from these, each ending in `**` as well if `tails`.
    fn paths(segments: &[&str], most: usize, tails: bool) -> Vec<String> {
        let mut all: Vec<String> = segments.iter().map(|segment| (*segment).to_owned()).collect();
        for _ in 1..most {
            let longer =
                all.iter().flat_map(|path| segments.iter().map(move |segment| format!("{path}/{segment}")));
            all.extend(longer.collect::<Vec<_>>());
        }
        if tails {
            let with_tail: Vec<_> = all.iter().map(|path| format!("{path}/**")).collect();
            all.extend(with_tail);
            all.push("**".to_owned());
        }
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn what_covers_a_grant_allows_everything_that_the_grant_allows() {
        let grants = paths(&["a", "b", "*"], 2, true);
        let things: Vec<Urn> =
            paths(&["a", "b"], 4, false).iter().map(|path| urn(&format!("{path}#read"))).collect();
        for held in &grants {
            let held = urn(&format!("{held}#read"));
            for asked in &grants {
                let asked = urn(&format!("{asked}#read"));
                if held.covers(&asked) {
                    let beyond = things.iter().find(|thing| asked.covers(thing) && !held.covers(thing));
                    assert_eq!(beyond, None, "{held:?} covers {asked:?}");
                }
            }
        }
    }
}
