//! Sends an HTTP request to a notifier.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ureq::{Agent, Error, http::Response};

use super::{
    Real, certificate, fetch, secrets,
    tell::{TRY, Tried},
};
use crate::effect::{Post, Where};

/// How much of an answer is read, in bytes: only its code counts, and the rest is for the connection to end well.
const ANSWER: u64 = 1 << 16;

/// A call with all that it takes, the address too: it is never printed.
pub(super) struct OpenPost {
    agent: Agent,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

impl OpenPost {
    /// Reads what it takes; says also what of the address may be said.
    pub(super) fn open(real: &Real, post: &Post) -> Result<(String, Self)> {
        let url = match &post.to {
            Where::Plain(url) => url.as_str().to_owned(),
            Where::Secret(file) => {
                let url = secrets::line(real, file)?;
                check(&url).with_context(|| format!("what {} holds (it is not shown)", file.0))?;
                url
            }
        };
        let mut headers = post.headers.clone();
        if let Some(file) = &post.token {
            let token = secrets::line(real, file)?;
            let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(plain, "{} does not contain a valid token (it is not shown)", file.0);
            headers.push(("Authorization", format!("Bearer {token}")));
        }
        let https = url.starts_with("https://");
        let mut config = Agent::config_builder()
            .https_only(https)
            // Another place would get what is meant for this one.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(if https { fetch::proxy(&real.web)? } else { None })
            .user_agent(concat!("rlvm/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(TRY));
        if https {
            config = config.tls_config(fetch::tls(&real.web)?);
        }
        let to = origin(&url);
        let post = OpenPost {
            agent: config.build().new_agent(),
            url: suffixed(&url, post.suffix),
            headers,
            body: post.body.clone(),
        };
        Ok((to, post))
    }
}

/// Checks an address that a file holds.
fn check(url: &str) -> Result<()> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else { bail!("does not start with https:// or http://") };
    ensure!(!rest.is_empty() && !rest.starts_with(['/', '?', '#']), "names no host");
    ensure!(url.bytes().all(|byte| byte.is_ascii_graphic()), "has blanks or letters beyond ASCII");
    Ok(())
}

/// Returns what of an address may be said: its scheme and host.
pub(super) fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// Puts something behind the path of an address.
fn suffixed(url: &str, suffix: &str) -> String {
    if suffix.is_empty() {
        return url.to_owned();
    }
    let url = url.split('#').next().unwrap_or_default();
    match url.split_once('?') {
        Some((path, query)) => format!("{}{suffix}?{query}", path.trim_end_matches('/')),
        None => format!("{}{suffix}", url.trim_end_matches('/')),
    }
}

/// Calls an address once.
pub(super) fn call(post: &OpenPost) -> Tried {
    let answer = match &post.body {
        Some(body) => {
            let headers = post.headers.iter();
            headers
                .fold(post.agent.post(&post.url), |call, (name, value)| call.header(*name, value))
                .send(body)
        }
        None => {
            let headers = post.headers.iter();
            headers.fold(post.agent.get(&post.url), |call, (name, value)| call.header(*name, value)).call()
        }
    };
    match answer {
        Ok(mut answer) => {
            let _ = answer.body_mut().with_config().limit(ANSWER).read_to_vec();
            judge(&answer)
        }
        Err(err) => failed(&err),
    }
}

fn judge<T>(answer: &Response<T>) -> Tried {
    let code = answer.status().as_u16();
    let said = format!("answered {code}");
    match code {
        200..=299 => Tried::Taken(said),
        300..=399 => Tried::Fails(format!(
            "{said}: the server redirects to another address, which rlvm does not follow"
        )),
        404 | 410 => Tried::Fails(format!("{said}: the address is not, or no longer, known there")),
        401 | 403 => Tried::Fails(format!("{said}: the server refuses this login")),
        408 | 425 | 429 | 500..=599 => {
            let after =
                answer.headers().get("retry-after").and_then(|it| it.to_str().ok()?.trim().parse().ok());
            Tried::Passes(said, after.map(Duration::from_secs))
        }
        _ => Tried::Fails(said),
    }
}

/// Says why a call failed. Some of ureq's own words repeat the address (3.5).
fn failed(err: &Error) -> Tried {
    let passes = |why: &str| Tried::Passes(why.into(), None);
    match err {
        Error::Timeout(_) => passes("no answer in time"),
        Error::HostNotFound => passes("its host name cannot be resolved"),
        Error::ConnectionFailed => passes("no connection"),
        Error::Io(err) => match err.get_ref() {
            Some(why) => Tried::Fails(match why.downcast_ref() {
                Some(err) => certificate::in_words(err),
                None => why.to_string(),
            }),
            None => passes(&err.to_string()),
        },
        Error::Rustls(err) => Tried::Fails(certificate::in_words(err)),
        Error::Tls(why) => Tried::Fails((*why).to_owned()),
        Error::ConnectProxyFailed(_) => passes("the proxy does not let through"),
        Error::BodyStalled | Error::Protocol(_) => passes("the answer is none that HTTP knows"),
        _ => Tried::Fails("it cannot be called: is the address right?".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_only_scheme_and_host_are_said() {
        for (url, said) in [
            ("https://discord.com/api/webhooks/1/secret", "https://discord.com"),
            ("https://ntfy.lan:8443/topic?auth=secret", "https://ntfy.lan:8443"),
            ("http://me:secret@nas.lan/x", "http://nas.lan"),
            ("https://a.b?secret", "https://a.b"),
        ] {
            assert_eq!(origin(url), said);
        }
    }

    #[test]
    fn an_end_stands_behind_the_path() {
        for (url, expected) in [
            ("https://hc.lan/ping/1", "https://hc.lan/ping/1/fail"),
            ("https://hc.lan/ping/1/", "https://hc.lan/ping/1/fail"),
            ("https://hc.lan/ping/1?rid=2#x", "https://hc.lan/ping/1/fail?rid=2"),
        ] {
            assert_eq!(suffixed(url, "/fail"), expected);
        }
        assert_eq!(suffixed("https://a/b/", ""), "https://a/b/");
    }

    #[test]
    fn what_a_file_holds_is_an_address_or_told_without_it() {
        assert!(check("https://a/b?c=d").is_ok());
        for bad in
            ["", "secret", "ftp://secret/x", "https://", "https:///secret", "https://a/b c", "https://a/é"]
        {
            let why = check(bad).unwrap_err().to_string();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn only_what_can_pass_is_tried_again() {
        let judged = |code: u16| {
            let answer =
                ureq::http::Response::builder().status(code).header("retry-after", "7").body(()).unwrap();
            match judge(&answer) {
                Tried::Taken(_) => "taken".to_owned(),
                Tried::Passes(_, after) => format!("passes {}", after.unwrap().as_secs()),
                Tried::Fails(_) => "fails".into(),
            }
        };
        for (code, expected) in [
            (200, "taken"),
            (204, "taken"),
            (301, "fails"),
            (400, "fails"),
            (401, "fails"),
            (404, "fails"),
            (408, "passes 7"),
            (429, "passes 7"),
            (503, "passes 7"),
        ] {
            assert_eq!(judged(code), expected, "{code}");
        }
    }
}
