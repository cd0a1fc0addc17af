//! Encodes a mail in ASCII, whatever it contains (RFC 5322, 2045, 2047).

use std::fmt::Write;

use base64ct::{Base64, Encoding};
use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};

/// How long a line of encoded text is.
const LINE: usize = 76;
/// How many bytes an encoded word stands for: it must not be longer than 75 letters (RFC 2047, section 2).
const WORD: usize = 45;
/// How long a line may be that is sent as it is (RFC 5322, section 2.1.1).
const LONGEST: usize = 900;

/// What a mail says of itself.
#[derive(Clone, Debug)]
pub struct Heads<'a> {
    /// Whom it is from, if it is not for sendmail to say.
    pub from: Option<&'a str>,
    /// Whom it is for.
    pub to: &'a [&'a str],
    /// What it is about, in any letters.
    pub subject: &'a str,
    /// When it was written.
    pub date: Timestamp,
    /// Tells it from all others: a random word, and a host.
    pub id: (&'a str, &'a str),
}

/// Writes a mail, its lines ending as Unix has it.
pub fn mail(heads: &Heads<'_>, text: &str) -> String {
    let mut mail = String::new();
    let mut head = |name: &str, value: &str| {
        let _ = writeln!(mail, "{name}: {value}");
    };
    if let Some(from) = heads.from {
        head("From", &line(from));
    }
    head("To", &heads.to.iter().map(|to| line(to)).collect::<Vec<_>>().join(",\n "));
    head("Subject", &encoded(heads.subject));
    let date = rfc2822::to_string(&heads.date.to_zoned(TimeZone::UTC));
    head("Date", &date.unwrap_or_default());
    head("Message-ID", &format!("<{}@{}>", heads.id.0, heads.id.1));
    head("MIME-Version", "1.0");
    head("Content-Type", "text/plain; charset=utf-8");
    // A program wrote it: nobody's holiday is to answer (RFC 3834).
    head("Auto-Submitted", "auto-generated");
    if text.is_ascii() && text.lines().all(|line| line.len() <= LONGEST) {
        head("Content-Transfer-Encoding", "7bit");
        return mail + "\n" + text;
    }
    head("Content-Transfer-Encoding", "base64");
    mail.push('\n');
    let letters = Base64::encode_string(text.replace('\n', "\r\n").as_bytes());
    let mut rest = letters.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        let _ = writeln!(mail, "{line}");
        rest = more;
    }
    mail
}

/// Writes a header's text in ASCII, with nothing in it that could begin another header.
pub fn encoded(text: &str) -> String {
    let text = line(text);
    let looks_encoded = text.contains("=?");
    if text.is_ascii() && text.len() <= LONGEST && !looks_encoded {
        return text;
    }
    let mut words = Vec::new();
    let mut word = String::new();
    for letter in text.chars() {
        if word.len() + letter.len_utf8() > WORD {
            words.push(std::mem::take(&mut word));
        }
        word.push(letter);
    }
    words.push(word);
    let word = |word: &String| format!("=?utf-8?B?{}?=", Base64::encode_string(word.as_bytes()));
    words.iter().map(word).collect::<Vec<_>>().join("\n ")
}

/// Makes one line of a text.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(subject: &str, to: &[&str], text: &str) -> String {
        let date = "2026-11-21T02:30:00Z".parse().unwrap();
        mail(&Heads { from: Some("rlvm@web01.lan"), to, subject, date, id: ("0123", "web01") }, text)
    }

    #[test]
    fn plain_text_stays_plain() {
        assert_eq!(
            of("web01: backup failed", &["a@b.lan", "root"], "x\n"),
            "From: rlvm@web01.lan\nTo: a@b.lan,\n root\nSubject: web01: backup failed\n\
             Date: Sat, 21 Nov 2026 02:30:00 +0000\nMessage-ID: <0123@web01>\nMIME-Version: 1.0\n\
             Content-Type: text/plain; charset=utf-8\nAuto-Submitted: auto-generated\n\
             Content-Transfer-Encoding: 7bit\n\nx\n"
        );
    }

    #[test]
    fn nothing_begins_another_header() {
        let mail = of("a\r\nBcc: x@evil.lan\n\nbody", &["a@b\nCc: y@evil.lan"], "x\n");
        let (heads, _) = mail.split_once("\n\n").unwrap();
        for head in heads.lines() {
            assert!(!head.starts_with("Bcc") && !head.starts_with("Cc"), "{mail}");
        }
        assert!(heads.contains("Subject: a  Bcc: x@evil.lan  body\n"), "{mail}");
    }

    #[test]
    fn all_letters_travel_in_ascii() {
        let subject = "web01: Sicherung schlägt fehl: Büro 🗄 und noch vieles, vieles mehr, das lang ist";
        let mail = of(subject, &["a@b"], "schlägt fehl\n");
        assert!(mail.is_ascii(), "{mail}");
        let (heads, body) = mail.split_once("\n\n").unwrap();
        assert!(heads.lines().all(|line| line.len() <= 90), "{mail}");
        let body = Base64::decode_vec(&body.replace('\n', "")).unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), "schlägt fehl\r\n");
        let words = encoded(subject).replace("\n ", "");
        let words = words.split("?=").filter_map(|word| word.strip_prefix("=?utf-8?B?"));
        let letters: Vec<u8> = words.flat_map(|word| Base64::decode_vec(word).unwrap()).collect();
        assert_eq!(String::from_utf8(letters).unwrap(), subject);
        // What looks like an encoded word is none.
        assert!(encoded("=?utf-8?B?eA==?=").starts_with("=?utf-8?B?PT91"));
    }
}
