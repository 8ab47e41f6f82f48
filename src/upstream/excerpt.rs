//! What a CA says in words, for logs and people.

/// Text that somebody else wrote: short, one line, nothing that could move a terminal's cursor.
pub(super) fn short(text: &str) -> String {
    let words = text.split_whitespace().take(150).collect::<Vec<_>>().join(" ");
    words.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_write_is_cut() {
        assert_eq!(short("no\n such\u{1b}[2J  profile "), "no such[2J profile");
        assert_eq!(short(&"ä".repeat(1000)).chars().count(), 300);
        assert_eq!(short(&"a ".repeat(1000)).len(), 299);
    }
}
