//! The permission query of a verification: `documents.read AND (billing.* OR admin)`.
//!
//! ```text
//! expr    := and (OR and)*
//! and     := primary (AND primary)*
//! primary := PERMISSION | "(" expr ")"
//! ```
//!
//! A permission is spelled with `a-z A-Z 0-9 . _ - * : /` and compared exactly: case counts and
//! `*` is an ordinary character. `AND` and `OR` are operators in any case. There is no NOT.
//!
//! A query is compiled, in one pass and without recursion, into a row of steps over a single
//! truth value: look up a permission, or skip ahead if the value already decides the group.
//! Evaluation walks that row once, so neither long nor deeply nested queries cost stack or
//! allocations. Source of grammar and messages: section 5 of the keys behaviour (PQ1 to PQ19).

use std::fmt::Display;

use smallvec::SmallVec;

/// A parsed permission query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'t> {
    steps: SmallVec<[Step<'t>; 8]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step<'t> {
    /// The value becomes whether this permission is held.
    Look(&'t str),
    /// If the value is `when`, go on at step `to`.
    Skip { when: bool, to: usize },
}

impl<'t> Query<'t> {
    /// Reads a query. Positions in errors are byte offsets from 0.
    ///
    /// # Errors
    /// [`SyntaxError`] for an illegal character anywhere in the text, else for the first place at
    /// which the text stops being a query.
    pub fn parse(text: &'t str) -> Result<Self, SyntaxError> {
        refuse_illegal_characters(text)?;
        let mut token = next_token(text, 0);
        if token.kind == TokenKind::End {
            let why = "Please provide a valid permission query.";
            return refuse(token.position, "Unexpected end of input.", why);
        }
        let mut compiler = Compiler::default();
        compiler.groups.push(Group::default());
        while !compiler.groups.is_empty() {
            if compiler.has_operand {
                compiler.take_operator(&token)?;
            } else {
                compiler.take_operand(&token)?;
            }
            token = next_token(text, token.position + token.text.len());
        }
        Ok(Self { steps: compiler.steps })
    }

    /// The permissions that it names, in their order; one that is named twice comes twice.
    pub fn permissions(&self) -> impl Iterator<Item = &'t str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Look(permission) => Some(*permission),
            Step::Skip { .. } => None,
        })
    }

    /// Whether the holder of exactly those permissions for which `holds` is true satisfies the
    /// query. Allocates nothing; asks only as far as the answer needs.
    pub fn is_satisfied_by(&self, holds: impl Fn(&str) -> bool) -> bool {
        let mut value = false;
        let mut next = 0;
        while let Some(step) = self.steps.get(next) {
            next += 1;
            match step {
                Step::Look(permission) => value = holds(permission),
                Step::Skip { when, to } if value == *when => next = *to,
                Step::Skip { .. } => {}
            }
        }
        value
    }
}

/// Why a text is not a permission query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    message: String,
    position: usize,
}

impl SyntaxError {
    /// What is wrong, for the caller to read. The wording is part of the wire contract.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Byte offset of the offending token or character; the text's length if it ends too early.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }
}

fn refuse<T>(position: usize, what: impl Display, why: &str) -> Result<T, SyntaxError> {
    let message = format!("{what} {why}");
    Err(SyntaxError { message, position })
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

fn is_permission_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | '*' | ':' | '/')
}

/// Looks at the whole text first, so that an illegal character is always reported as such and
/// never as whatever the grammar would make of it.
fn refuse_illegal_characters(text: &str) -> Result<(), SyntaxError> {
    let legal = |c: char| is_space(c) || is_permission_character(c) || matches!(c, '(' | ')');
    let Some((position, character)) = text.char_indices().find(|(_, c)| !legal(*c)) else {
        return Ok(());
    };
    let shown = match character {
        '!'..='~' => character.to_string(),
        _ => character.escape_debug().to_string(),
    };
    let what = format!("Invalid character '{shown}' at position {position}.");
    let allowed = "A permission query may contain letters (a-z, A-Z), digits (0-9), \
        '.', '_', '-', '*', ':', '/', parentheses and spaces.";
    refuse(position, what, allowed)
}

/// A token and where it begins. `text` is what was written, for messages.
struct Token<'t> {
    kind: TokenKind,
    text: &'t str,
    position: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    Permission,
    And,
    Or,
    Open,
    Close,
    End,
}

/// The first token at or after byte `from` of a text of legal characters.
fn next_token(text: &str, from: usize) -> Token<'_> {
    let rest = text[from..].trim_start_matches(is_space);
    let position = text.len() - rest.len();
    let word = rest.find(|c| !is_permission_character(c)).unwrap_or(rest.len());
    let (kind, length) = match rest.as_bytes().first() {
        None => (TokenKind::End, 0),
        Some(b'(') => (TokenKind::Open, 1),
        Some(b')') => (TokenKind::Close, 1),
        Some(_) if rest[..word].eq_ignore_ascii_case("and") => (TokenKind::And, word),
        Some(_) if rest[..word].eq_ignore_ascii_case("or") => (TokenKind::Or, word),
        Some(_) => (TokenKind::Permission, word),
    };
    let text = &rest[..length];
    Token { kind, text, position }
}

/// Writes the steps. A skip's target is not known when it is written; its group remembers it
/// and fills it in when the group, or its current row of ANDs, is complete.
#[derive(Default)]
struct Compiler<'t> {
    steps: SmallVec<[Step<'t>; 8]>,
    /// The groups around the current place: the whole query, then each open parenthesis. None is
    /// left when the query is complete.
    groups: SmallVec<[Group; 2]>,
    /// Whether the token before completed an operand, so that an operator or an end is due.
    has_operand: bool,
    /// Whether the token before was an opening parenthesis.
    just_opened: bool,
}

/// Places of skips.
type Skips = SmallVec<[usize; 4]>;

/// Skips of one group whose targets are still open.
#[derive(Default)]
struct Group {
    /// Taken if the operand before an AND is false: to the end of the row of ANDs.
    ands: Skips,
    /// Taken if the operand before an OR is true: to the end of the group.
    ors: Skips,
}

impl<'t> Compiler<'t> {
    fn take_operand(&mut self, token: &Token<'t>) -> Result<(), SyntaxError> {
        let position = token.position;
        let due = "Expected a permission identifier or opening parenthesis.";
        match token.kind {
            TokenKind::Permission => self.steps.push(Step::Look(token.text)),
            TokenKind::Open => self.groups.push(Group::default()),
            TokenKind::End => return refuse(position, "Unexpected end of query.", due),
            TokenKind::Close if self.just_opened => {
                let what = format!("Empty parentheses found at position {position}.");
                let why = "Parentheses must contain at least one permission or expression.";
                return refuse(position, what, why);
            }
            TokenKind::And | TokenKind::Or | TokenKind::Close => {
                let what = format!("Unexpected token '{}' at position {position}.", token.text);
                return refuse(position, what, due);
            }
        }
        self.has_operand = token.kind == TokenKind::Permission;
        self.just_opened = token.kind == TokenKind::Open;
        Ok(())
    }

    fn take_operator(&mut self, token: &Token<'_>) -> Result<(), SyntaxError> {
        let position = token.position;
        let in_parentheses = self.groups.len() > 1;
        match token.kind {
            TokenKind::And => self.skip_when(false),
            TokenKind::Or => {
                self.finish_ands();
                self.skip_when(true);
            }
            TokenKind::Close if in_parentheses => self.finish_group(),
            TokenKind::End if !in_parentheses => self.finish_group(),
            _ if in_parentheses => {
                let what = format!("Missing closing parenthesis ')' at position {position}.");
                let why = "Every opening parenthesis must have a matching closing parenthesis.";
                return refuse(position, what, why);
            }
            _ => {
                let what = format!("Unexpected token '{}' at position {position}.", token.text);
                let why = "The query appears to have extra content after a valid expression.";
                return refuse(position, what, why);
            }
        }
        self.has_operand = token.kind == TokenKind::Close;
        Ok(())
    }

    fn skip_when(&mut self, when: bool) {
        if let Some(group) = self.groups.last_mut() {
            let skips = if when { &mut group.ors } else { &mut group.ands };
            skips.push(self.steps.len());
            let to = usize::MAX;
            self.steps.push(Step::Skip { when, to });
        }
    }

    fn finish_ands(&mut self) {
        if let Some(group) = self.groups.last_mut() {
            let ands = std::mem::take(&mut group.ands);
            self.land_here(ands);
        }
    }

    fn finish_group(&mut self) {
        if let Some(group) = self.groups.pop() {
            self.land_here(group.ands);
            self.land_here(group.ors);
        }
    }

    fn land_here(&mut self, skips: Skips) {
        let here = self.steps.len();
        for skip in skips {
            if let Step::Skip { to, .. } = &mut self.steps[skip] {
                *to = here;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    fn satisfied(query: &str, held: &[&str]) -> bool {
        Query::parse(query).unwrap().is_satisfied_by(|permission| held.contains(&permission))
    }

    fn refusal(query: &str) -> (String, usize) {
        let error = Query::parse(query).unwrap_err();
        assert_eq!(error.to_string(), error.message());
        (error.message().to_owned(), error.position())
    }

    #[test]
    fn queries_have_the_truth_of_their_grammar() {
        for (query, held, expected) in [
            ("a", &["a"][..], true),
            ("a", &["b"], false),
            ("a", &[], false),
            ("a AND b", &["a", "b"], true),
            ("a AND b", &["a"], false),
            ("a OR b", &["b"], true),
            ("a OR b AND c", &["a"], true),
            ("a OR b AND c", &["b"], false),
            ("a AND b OR c", &["c"], true),
            ("a AND b OR c AND d", &["c", "d"], true),
            ("(a OR b) AND c", &["a"], false),
            ("(a OR b) AND c", &["b", "c"], true),
            ("((a))", &["a"], true),
            ("a AND (b OR (c AND d)) OR e", &["a", "c", "d"], true),
            ("a AND (b OR (c AND d)) OR e", &["a", "c"], false),
            ("\t a\nand\r\nb ", &["a", "b"], true),
            ("(a)OR(b)", &["b"], true),
            ("a oR b aNd c", &["a"], true),
            ("a AND a", &["a", "a"], true),
        ] {
            assert_eq!(satisfied(query, held), expected, "{query} with {held:?}");
        }
    }

    #[test]
    fn permissions_are_compared_exactly() {
        for (query, held, expected) in [
            ("documents.read", "Documents.read", false),
            ("documents.read", "documents.*", false),
            ("documents.*", "documents.read", false),
            ("documents.*", "documents.*", true),
            ("ANDROID", "ANDROID", true),
            ("or.read", "or.read", true),
            ("ANDperm", "ANDperm", true),
            ("a:b/c-d_e.f*0", "a:b/c-d_e.f*0", true),
        ] {
            assert_eq!(satisfied(query, &[held]), expected, "{query} with {held}");
        }
    }

    #[test]
    fn texts_that_are_no_query_are_refused_in_the_words_of_the_contract() {
        let nothing = "Unexpected end of input. Please provide a valid permission query.";
        let end = "Unexpected end of query. \
            Expected a permission identifier or opening parenthesis.";
        let operand = "Unexpected token '{t}' at position {n}. \
            Expected a permission identifier or opening parenthesis.";
        let empty = "Empty parentheses found at position {n}. \
            Parentheses must contain at least one permission or expression.";
        let unclosed = "Missing closing parenthesis ')' at position {n}. \
            Every opening parenthesis must have a matching closing parenthesis.";
        let extra = "Unexpected token '{t}' at position {n}. \
            The query appears to have extra content after a valid expression.";
        for (query, token, position, template) in [
            ("", "", 0, nothing),
            (" \t\r\n", "", 4, nothing),
            ("p AND", "", 5, end),
            ("p AND  ", "", 7, end),
            ("(", "", 1, end),
            ("(p OR", "", 5, end),
            ("AND p", "AND", 0, operand),
            ("p or Or q", "Or", 5, operand),
            ("or", "or", 0, operand),
            (")", ")", 0, operand),
            ("(p AND )", ")", 7, operand),
            ("p AND ()", ")", 7, empty),
            ("( )", ")", 2, empty),
            ("(p AND q", "", 8, unclosed),
            ("((p)", "", 4, unclosed),
            ("(p q)", "q", 3, unclosed),
            ("p q", "q", 2, extra),
            ("p)", ")", 1, extra),
            ("a(b)", "(", 1, extra),
        ] {
            let message = template.replace("{t}", token).replace("{n}", &position.to_string());
            assert_eq!(refusal(query), (message, position), "{query}");
        }
    }

    #[test]
    fn illegal_characters_are_reported_wherever_they_are() {
        for (query, shown, position) in [
            ("@", "@", 0),
            ("p AND @q", "@", 6),
            ("p @", "@", 2),
            ("(p & q)", "&", 3),
            ("AND OR \"p\"", "\"", 7),
            ("p' q", "'", 1),
            ("a\0b", "\\0", 1),
            ("a\u{7}", "\\u{7}", 1),
            ("a\u{b}b", "\\u{b}", 1),
            ("ab AND é", "é", 7),
            ("a\u{a0}b", "\\u{a0}", 1),
            ("a AND \u{202e}", "\\u{202e}", 6),
        ] {
            let (message, at) = refusal(query);
            assert_eq!(at, position, "{query:?}");
            let beginning = format!("Invalid character '{shown}' at position {position}. ");
            assert!(message.starts_with(&beginning), "{message}");
            assert!(message.contains("(a-z, A-Z), digits (0-9), '.', '_', '-', '*', ':', '/'"));
        }
    }

    #[test]
    fn nesting_is_bounded_by_memory_only() {
        let depth = 200_000;
        let query = format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
        assert!(satisfied(&query, &["a"]));
        assert_eq!(refusal(&query[..2 * depth]).1, 2 * depth);
    }

    #[test]
    fn evaluation_asks_no_more_than_it_needs() {
        for (query, held, asked) in [
            ("a OR b OR c", "a", 1),
            ("a AND b AND c", "b", 1),
            ("(a OR b) AND c", "a", 2),
            ("a AND b OR c", "x", 2),
        ] {
            let asks = Cell::new(0);
            Query::parse(query).unwrap().is_satisfied_by(|permission| {
                asks.set(asks.get() + 1);
                permission == held
            });
            assert_eq!(asks.get(), asked, "{query}");
        }
    }

    #[derive(Debug, Clone)]
    enum Tree {
        Permission(usize),
        And(Box<[Tree; 2]>),
        Or(Box<[Tree; 2]>),
    }

    const NAMES: [&str; 4] = ["a.read", "ANDy", "x:y/*", "or-1"];

    /// The truth if of [`NAMES`] those are held whose bits are set.
    fn truth(tree: &Tree, held: usize) -> bool {
        match tree {
            Tree::Permission(name) => held & (1 << name) != 0,
            Tree::And(sides) => sides.iter().all(|side| truth(side, held)),
            Tree::Or(sides) => sides.iter().any(|side| truth(side, held)),
        }
    }

    /// Writes parentheses only where the grammar needs them, or everywhere.
    fn print(tree: &Tree, everywhere: bool) -> String {
        let plain = |side: &Tree| print(side, everywhere);
        let text = match tree {
            Tree::Permission(name) => NAMES[*name].to_owned(),
            Tree::Or(sides) => sides.each_ref().map(plain).join("\nOR "),
            Tree::And(sides) => {
                let enclosed = |side: &Tree| match side {
                    Tree::Or(_) if !everywhere => format!("( {})", plain(side)),
                    _ => plain(side),
                };
                sides.each_ref().map(enclosed).join(" and\t")
            }
        };
        let (open, close) = if everywhere { ("(", ")") } else { ("", "") };
        format!("{open}{text}{close}")
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let leaf = (0..NAMES.len()).prop_map(Tree::Permission);
        leaf.prop_recursive(8, 64, 2, |inner| {
            let sides = [inner.clone(), inner].prop_map(Box::new);
            prop_oneof![sides.clone().prop_map(Tree::And), sides.prop_map(Tree::Or)]
        })
    }

    proptest! {
        #[test]
        fn a_printed_tree_keeps_its_truth_table(tree in trees(), everywhere in any::<bool>()) {
            let text = print(&tree, everywhere);
            let query = Query::parse(&text).unwrap();
            for held in 0..1 << NAMES.len() {
                let holds = |permission: &str| {
                    NAMES.iter().enumerate().any(|(i, name)| *name == permission && held & (1 << i) != 0)
                };
                prop_assert_eq!(query.is_satisfied_by(holds), truth(&tree, held));
            }
        }

        #[test]
        fn any_text_gives_a_query_or_an_error_within_it(text in "[ab()@ é]{0,12}|( |and|or|\\(|\\)|p){0,12}") {
            match Query::parse(&text) {
                Ok(query) => { query.is_satisfied_by(|_| false); }
                Err(error) => prop_assert!(error.position() <= text.len() && !error.message().is_empty()),
            }
        }
    }
}
