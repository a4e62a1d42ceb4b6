//! What dig, delv and sealdns said, read.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What a validator makes of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    /// A chain of signatures leads from the trust anchor to it.
    Secure,
    /// It is proven that there is no such chain.
    Insecure,
    /// There should be one, and it is broken.
    Bogus,
    /// It could not tell, for want of an answer.
    Failed,
}

impl Security {
    /// The word in the table.
    pub fn shown(self) -> &'static str {
        match self {
            Security::Secure => "secure",
            Security::Insecure => "insecure",
            Security::Bogus => "BOGUS",
            Security::Failed => "FAILED",
        }
    }
}

/// The word behind a label, such as dig's `status: `.
pub fn field<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let rest = &text[text.find(label)? + label.len()..];
    rest.split(|c: char| c == ',' || c.is_whitespace()).next()
}

/// What a validating resolver's answer, printed by dig, says of security (RFC 4035 section 3.2.3).
pub fn security_of(answer: &str) -> Security {
    let flags = answer.lines().find_map(|line| line.strip_prefix(";; flags: "));
    let authenticated = flags
        .and_then(|flags| flags.split(';').next())
        .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "ad"));
    match field(answer, "status: ") {
        Some("NOERROR" | "NXDOMAIN") if authenticated => Security::Secure,
        Some("NOERROR" | "NXDOMAIN") => Security::Insecure,
        // SERVFAIL above all, which may be its verdict or for want of an answer.
        _ => Security::Failed,
    }
}

/// What delv says: it validates itself.
pub fn security_by_delv(said: &str) -> Security {
    let says = |words: &str| said.lines().any(|line| line.starts_with(';') && line.contains(words));
    if says("fully validated") {
        Security::Secure
    } else if says("unsigned answer") {
        Security::Insecure
    } else if said.contains("broken trust chain") || said.contains("no valid") {
        Security::Bogus
    } else {
        Security::Failed
    }
}

/// The sum of all counters of outcomes that are answers in `xdp status --json`, of a hook.
pub fn answered(status: &Value, hook: &str) -> Result<u64> {
    const ANSWERS: [&str; 8] = [
        "positive",
        "nodata",
        "referral",
        "wildcard",
        "nxdomain",
        "dname",
        "truncated",
        "bad-version",
    ];
    ANSWERS.iter().map(|word| number(status, &["counters", hook, word])).sum()
}

/// A number in a document by the fields that lead to it; the error names the one that is missing.
fn number(document: &Value, fields: &[&str]) -> Result<u64> {
    let mut value = document;
    for field in fields {
        value = value
            .get(field)
            .with_context(|| format!("there is no {field} of {}: {document}", fields.join(".")))?;
    }
    value.as_u64().with_context(|| format!("{} is no number: {document}", fields.join(".")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECURE: &str = "\
;; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 1
;; flags: qr rd ra ad; QUERY: 1, ANSWER: 0, AUTHORITY: 6, ADDITIONAL: 1
;; MSG SIZE  rcvd: 540
";

    #[test]
    fn ad_is_read_from_the_flags_alone() {
        assert_eq!(security_of(SECURE), Security::Secure);
        let without = SECURE.replace(" ad;", "; ad");
        assert_eq!(security_of(&without), Security::Insecure);
        assert_eq!(security_of(&SECURE.replace("NXDOMAIN", "SERVFAIL")), Security::Failed);
        assert_eq!(security_of("nothing"), Security::Failed);
        assert_eq!(field(SECURE, "MSG SIZE  rcvd: "), Some("540"));
    }

    #[test]
    fn delv_is_believed_on_comment_lines_only() {
        assert_eq!(security_by_delv("; fully validated\nwww A 192.0.2.1"), Security::Secure);
        assert_eq!(security_by_delv("; negative response, fully validated"), Security::Secure);
        assert_eq!(security_by_delv("t TXT \"fully validated\""), Security::Failed);
        assert_eq!(security_by_delv("; unsigned answer\n"), Security::Insecure);
        assert_eq!(security_by_delv(";; resolution failed: broken trust chain"), Security::Bogus);
    }

    #[test]
    fn only_answers_are_summed() {
        let mut status = json!({ "counters": {
            "xdp": {
                "positive": 3, "nodata": 2, "referral": 0, "wildcard": 0, "nxdomain": 5, "dname": 0,
                "truncated": 0, "bad-version": 0, "miss": 100,
            },
            "tcx": null,
        }});
        assert_eq!(answered(&status, "xdp").expect("counters"), 10);
        assert!(answered(&status, "tcx").is_err());
        status["counters"]["xdp"].as_object_mut().expect("an object").remove("dname");
        let error = answered(&status, "xdp").expect_err("a field is missing").to_string();
        assert!(error.starts_with("there is no dname of counters.xdp.dname"), "{error}");
    }
}
