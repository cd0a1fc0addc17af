//! Paper: lines that are narrow enough to be printed, and commands that can be typed off it or pasted.
//!
//! What stands four spaces in is a command, and nothing else does: `sed -n 's/^    //p'` takes them out of the file. A
//! fact has a colon before it.
//! No command depends on how far it is indented: a long word is put together in a variable, never by a line that goes on.

use crate::effect::quote;

/// How wide a line is at the most. Letter, 10 letters an inch, leaves room for a punched margin.
const WIDTH: usize = 76;
/// How long a word of a command may be before it is put together in a variable.
const LONGEST_WORD: usize = 52;
/// How much of such a word stands in a line.
const PIECE: usize = 44;

/// A text that is written line by line.
#[derive(Debug, Default)]
pub(super) struct Paper {
    text: String,
    sections: u32,
}

/// A word of a command.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// As it is: the shell gets it quoted.
    Plain(String),
    /// What the shell works out itself: `"$TARGET"`.
    Shell(&'static str),
}

impl From<&str> for Word {
    fn from(word: &str) -> Self {
        Self::Plain(word.into())
    }
}

impl From<String> for Word {
    fn from(word: String) -> Self {
        Self::Plain(word)
    }
}

impl Paper {
    /// Returns all that was written.
    pub(super) fn text(self) -> String {
        self.text
    }

    /// Writes a line as it is, without what would move a printer or a terminal.
    pub(super) fn line(&mut self, line: &str) {
        self.text.extend(line.trim_end().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }));
        self.text.push('\n');
    }

    /// Opens a section: they are numbered.
    pub(super) fn section(&mut self, title: &str) {
        self.sections += 1;
        let title = format!("{}. {title}", self.sections);
        self.line("");
        self.line(&title);
        self.line(&"-".repeat(title.chars().count()));
    }

    /// Writes sentences, folded between words.
    pub(super) fn say(&mut self, text: &str) {
        self.folded("", "", text);
    }

    /// Writes a fact, its later lines further in.
    pub(super) fn fact(&mut self, text: &str) {
        self.folded(": ", ":    ", text);
    }

    /// Writes a fact that has a name.
    pub(super) fn named(&mut self, name: &str, text: &str) {
        self.folded(&format!(": {name:<15}"), &format!(": {}", " ".repeat(15)), text);
    }

    fn folded(&mut self, first: &str, later: &str, text: &str) {
        let mut line = first.to_owned();
        let mut empty = true;
        for word in text.split_whitespace().flat_map(|word| pieces(word, WIDTH - 16)) {
            if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                later.clone_into(&mut line);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(&word);
            empty = false;
        }
        self.line(&line);
    }

    /// Writes shell as it is, a command a line.
    pub(super) fn shell(&mut self, lines: &[&str]) {
        for line in lines {
            self.line(&format!("    {line}"));
        }
    }

    /// Has a variable hold a word; `inside` is how far in it stands.
    pub(super) fn assign(&mut self, inside: &str, name: &str, value: &str) {
        for (place, piece) in pieces(value, PIECE).enumerate() {
            let before = if place == 0 { String::new() } else { format!("${{{name}}}") };
            self.line(&format!("    {inside}{name}={before}{}", quote(&piece)));
        }
    }

    /// Writes a command, word by word.
    pub(super) fn command(&mut self, inside: &str, words: &[Word]) {
        let mut shown = Vec::new();
        for (number, word) in words.iter().enumerate() {
            shown.push(match word {
                Word::Shell(word) => (*word).to_owned(),
                Word::Plain(word) if word.chars().count() <= LONGEST_WORD => quote(word),
                Word::Plain(word) => {
                    let name = format!("w{number}");
                    self.assign(inside, &name, word);
                    format!("\"${name}\"")
                }
            });
        }
        let mut line = format!("    {inside}");
        for (place, word) in shown.iter().enumerate() {
            // Room for the backslash.
            if place > 0 && line.chars().count() + word.chars().count() + 3 > WIDTH {
                self.line(&format!("{line} \\"));
                line = format!("    {inside}    {word}");
                continue;
            }
            if place > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&line);
    }

    /// Writes a text that can be got back: `| ` opens a line of it, `|+` goes on with one.
    pub(super) fn kept(&mut self, text: &str) {
        for line in text.lines() {
            let mut before = "| ";
            for piece in pieces(line, WIDTH - 2) {
                // What stands at the end of a piece counts, blanks too.
                self.text.extend([before, &piece, "\n"]);
                before = "|+";
            }
        }
    }
}

/// Cuts a text into pieces of so many letters; an empty one is one piece.
fn pieces(text: &str, length: usize) -> impl Iterator<Item = String> {
    let letters: Vec<char> = text.chars().collect();
    let mut all: Vec<String> = letters.chunks(length).map(|piece| piece.iter().collect()).collect();
    if all.is_empty() {
        all.push(String::new());
    }
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Paper)) -> String {
        let mut paper = Paper::default();
        write(&mut paper);
        paper.text()
    }

    #[test]
    fn a_command_is_the_same_however_far_in_it_stands() {
        let long = "sftp.command=ssh -F ssh_config -p 2222 -l somebody it's.a.long.name.lan -s sftp";
        let text = written(|paper| {
            let words = ["restic".into(), "-o".into(), long.into(), Word::Shell("\"$@\"")];
            paper.command("  ", &words);
        });
        let expected = "      w2='sftp.command=ssh -F ssh_config -p 2222 -l so'\n      \
             w2=${w2}'mebody it'\\''s.a.long.name.lan -s sftp'\n      restic -o \"$w2\" \"$@\"\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn no_line_is_too_wide() {
        let word = "x".repeat(300);
        let text = written(|paper| {
            paper.say(&format!("{} {word} end", "some words ".repeat(20)));
            paper.named("name", &word);
            paper.assign("", "k", &word);
            paper.command("", &vec![Word::from("a-word-of-some-length"); 12]);
            paper.kept(&word);
        });
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|widest| widest <= WIDTH + 2), "{widest:?}\n{text}");
    }

    #[test]
    fn what_is_kept_comes_back() {
        let text = format!("a: 1\n\n  b: {} \n", "long ".repeat(60));
        let kept = written(|paper| paper.kept(&text));
        let mut back = String::new();
        for line in kept.lines() {
            match line.strip_prefix("| ") {
                Some(line) => back.extend(["\n", line]),
                None => back.push_str(line.strip_prefix("|+").unwrap()),
            }
        }
        assert_eq!(back.trim_start_matches('\n').to_owned() + "\n", text);
    }

    #[test]
    fn nothing_moves_the_printer() {
        assert_eq!(written(|paper| paper.line("a\u{1b}[2Jb\u{c}c")), "a\u{fffd}[2Jb\u{fffd}c\n");
    }
}
