//! Reads plain words by the core schema of YAML 1.2: `no` is text, `0750` is the number 750.

use serde_json::{Number, Value};

/// Makes a value of a plain word.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.into()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    // Most words are none: look at one byte first.
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return None;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return hex_or_octal(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return hex_or_octal(digits, 8);
    }
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !body.is_empty() && body.bytes().all(|b| b.is_ascii_digit()) {
        // One too large for JSON's integers stays text, so that no digit of it is lost.
        let text = text.strip_prefix('+').unwrap_or(text);
        return text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok();
    }
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (body, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let plain = digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty());
    if !plain || exponent.is_some_and(|exponent| exponent.is_empty() || !digits(exponent)) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // 1.0 is a whole number to the schema, and so it is to the types.
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        return format!("{value:.0}").parse::<i64>().map(Number::from).ok();
    }
    Number::from_f64(value)
}

fn hex_or_octal(digits: &str, radix: u32) -> Option<Number> {
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().map(Number::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_core_schema() {
        for (text, value) in [
            ("no", json!("no")),
            ("on", json!("on")),
            ("yes", json!("yes")),
            ("true", json!(true)),
            ("", json!(null)),
            ("~", json!(null)),
            ("0750", json!(750)),
            ("0o750", json!(488)),
            ("0x1f", json!(31)),
            ("-5", json!(-5)),
            ("+5", json!(5)),
            ("1_000", json!("1_000")),
            ("1e3", json!(1000)),
            ("0.18", json!(0.18)),
            (".5", json!(0.5)),
            ("1.0", json!(1)),
            ("0.18.0", json!("0.18.0")),
            ("2G", json!("2G")),
            ("1e", json!("1e")),
            (".", json!(".")),
            ("-", json!("-")),
            (".inf", json!(".inf")),
            ("99999999999999999999", json!("99999999999999999999")),
            ("12:30", json!("12:30")),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }
}
