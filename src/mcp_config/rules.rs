//! `keyrack mcp-config --rules`: what agents that write code should know, for AGENTS.md and the like.

use reqwest::Url;

const RULES: &str = include_str!("rules.md");

/// The rules, for a server at this address.
pub(super) fn text(base: &Url) -> String {
    RULES.replace("{{base}}", base.as_str().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_short_and_name_what_there_is() {
        let text = text(&Url::parse("https://keys.example.com/base/").unwrap());
        assert!(text.len() < 3000 && !text.contains("{{"), "{text}");
        let names: Vec<&str> = keyrack_core::operations::pages().iter().map(|page| page.about.name).collect();
        let namespaces: Vec<&str> = names.iter().filter_map(|name| name.split('.').next()).collect();
        let code = text.split('`').skip(1).step_by(2);
        let mut named = 0;
        for word in code {
            let Some((namespace, _)) = word.split_once('.') else { continue };
            if namespaces.contains(&namespace) {
                assert!(names.contains(&word), "there is no {word}");
                named += 1;
            }
        }
        assert!(named >= 4, "{named}");
    }
}
