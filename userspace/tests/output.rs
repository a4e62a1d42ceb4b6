//! What goes where: data on standard output, messages on standard error, JSON where JSON was asked for; and what a
//! signed zone must not take over from the file that it is made of.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const SEALDNS: &str = env!("CARGO_BIN_EXE_sealdns");

/// A ZONEMD record that is right for the zone before it is signed (RFC 8976), as dnspython computes it.
const WITH_DIGEST: &str = "@ 300 IN SOA ns1 host 1 7200 3600 1209600 300\n@ 300 IN NS ns1\n\
    ns1 300 IN A 192.0.2.1\n\
    @ 300 IN ZONEMD 1 1 1 5716A67A4BCEAB7509D0D6614E385F91FE258E0FB84BE93A974F35179318B522717D73EB64A7E11F121A45FF3230DB71\n";

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).current_dir(folder).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn a_zone_is_signed_to_standard_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::write(folder.join("zone"), WITH_DIGEST).expect("the zone");
    let sign = ["sign", "zmd.test", "--in", "zone", "--out"];
    let to_file = run(folder, SEALDNS, &[&sign[..], &["signed", "--jobs", "1"]].concat());
    assert!(to_file.status.success(), "{}", text(&to_file.stderr));
    assert!(text(&to_file.stdout).contains("signatures per CPU second"));
    // Statistics go aside, as text and as JSON; what is there is a zone and nothing else.
    for json in [false, true] {
        let mut arguments = [&sign[..], &["-"]].concat();
        arguments.extend(json.then_some("--json"));
        let output = run(folder, SEALDNS, &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        std::fs::write(folder.join("printed"), &output.stdout).expect("a file");
        let verified = run(folder, "ldns-verify-zone", &["printed"]);
        assert!(verified.status.success(), "{}", text(&verified.stderr));
        let said = text(&output.stderr);
        let last = said.lines().last().expect("statistics");
        match json {
            true => {
                assert!(serde_json::from_str::<Value>(last).expect("JSON")["signatures"].is_u64())
            }
            false => assert!(last.contains("signatures per CPU second"), "{said}"),
        }
        assert!(said.contains("ZONEMD records of zone are left out"), "{said}");
    }
    assert!(!folder.join("-").exists());
}

#[test]
fn a_digest_is_never_copied_into_a_signed_zone() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::write(folder.join("zone"), WITH_DIGEST).expect("the zone");
    // It holds for the zone as it is, to us and to Knot's checker.
    assert_eq!(
        run(folder, SEALDNS, &["zone", "check", "--zone", "zmd.test", "zone"]).status.code(),
        Some(0)
    );
    let output = run(folder, SEALDNS, &["sign", "zmd.test", "--in", "zone", "--out", "signed"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let signed = std::fs::read_to_string(folder.join("signed")).expect("the signed zone");
    assert!(!signed.contains("ZONEMD"), "{signed}");
}

#[test]
fn digests_of_presigned_zones_are_those_that_knot_makes() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let zone = "$TTL 300\n@ SOA ns host 1 7200 3600 1209600 300\n@ NS ns\nns A 192.0.2.1\n\
                WWW 60 MX 10 Mail.Example.\nsub NS ns.sub\nns.sub AAAA 2001:db8::1\n*.w TXT \"a\"\n";
    for (hash, denial) in [("sha384", "off"), ("sha384", "on"), ("sha512", "off"), ("sha512", "on")]
    {
        let here = folder.join(format!("{hash}-{denial}"));
        for name in ["db", "out"] {
            std::fs::create_dir_all(here.join(name)).expect("a folder");
        }
        std::fs::write(here.join("example.zone"), format!("$ORIGIN example.\n{zone}"))
            .expect("a zone");
        let config = format!(
            "database:\n  storage: \"{0}/db\"\npolicy:\n  - id: p\n    nsec3: {denial}\n\
             zone:\n  - domain: example.\n    storage: \"{0}\"\n    file: \"example.zone\"\n    \
             dnssec-signing: on\n    dnssec-policy: p\n    zonemd-generate: zonemd-{hash}\n",
            here.display()
        );
        std::fs::write(here.join("knot.conf"), config).expect("a configuration");
        let generate =
            ["-c", "knot.conf", "example.", "generate", "algorithm=13", "ksk=yes", "zsk=yes"];
        let output = run(&here, "keymgr", &generate);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let output = run(&here, "kzonesign", &["-c", "knot.conf", "-o", "out", "example."]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let verify =
            || run(&here, SEALDNS, &["verify", "--json", "--zone", "example", "out/example.zone"]);
        let verified = verify();
        assert_eq!(verified.status.code(), Some(0), "{hash}: {}", text(&verified.stdout));
        // Glue is not signed: only the digest tells that it was changed.
        let path = here.join("out/example.zone");
        let signed = std::fs::read_to_string(&path).expect("the signed zone");
        let changed = signed.replace("2001:db8::1", "2001:db8::2");
        assert_ne!(signed, changed);
        std::fs::write(&path, changed).expect("the zone");
        let verified = verify();
        let said = text(&verified.stdout);
        assert_eq!(verified.status.code(), Some(3), "{hash}: {said}");
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(said["faults"].as_array().map(Vec::len), Some(1), "{said}");
        assert_eq!(said["faults"][0]["type"], "ZONEMD", "{said}");
    }
}

/// With `--json` every line that `run` prints is JSON: events, that it is ready, and why it does not start.
#[test]
fn run_prints_only_json_where_it_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    // Free a moment ago; nobody else is given it so soon.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let port = address.port().to_string();
    std::fs::write(folder.join("zone"), WITH_DIGEST).expect("the zone");
    let config = format!(
        "version = \"v1\"\n[server]\nlisten = [\"{address}\"]\ncontrol = \"control.sock\"\n\
         state-dir = \"state\"\n[[zone]]\nname = \"zmd.test\"\nfile = \"zone\"\n\
         allow-transfer = [\"127.0.0.1\"]\n"
    );
    std::fs::write(folder.join("sealdns.toml"), &config).expect("the configuration");
    let mut daemon = Command::new(SEALDNS)
        .current_dir(folder)
        .args(["run", "--json", "--config", "sealdns.toml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sealdns starts");
    let mut lines = BufReader::new(daemon.stderr.take().expect("stderr")).lines();
    let mut events: Vec<Value> = Vec::new();
    let mut next = |events: &mut Vec<Value>| {
        let line = lines.next()?.expect("a line");
        events.push(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")));
        events.last().cloned()
    };
    while next(&mut events).expect("it is ready")["ready"] != true {}
    let warns_of = |events: &[Value], what: &str| {
        let is_it = |event: &Value| {
            let message = event["fields"]["message"].as_str();
            event["level"] == "WARN" && message.is_some_and(|message| message.contains(what))
        };
        events.iter().any(is_it)
    };
    assert!(warns_of(&events, "rate limits are off"), "{events:?}");
    assert!(warns_of(&events, "the ZONEMD records of the file are left out"), "{events:?}");
    let axfr = ["@127.0.0.1", "-p", &port, "zmd.test", "AXFR", "+noall", "+answer"];
    let transferred = text(&run(folder, "dig", &axfr).stdout);
    assert!(transferred.contains("DNSKEY") && !transferred.contains("ZONEMD"), "{transferred}");
    // A zone that does not load, a change of the mode, a block.
    std::fs::write(folder.join("zone"), "@ SOA\n").expect("the zone");
    let config = ["--config", "sealdns.toml"];
    for command in [
        &["zone", "reload"][..],
        &["ratelimit", "mode", "on"],
        &["ratelimit", "block", "add", "192.0.2.0/24", "bad.example"],
        &["stop"],
    ] {
        run(folder, SEALDNS, &[command, &config].concat());
    }
    while next(&mut events).is_some() {}
    assert!(daemon.wait().expect("it ends").success());
    let logged: Vec<&str> =
        events.iter().filter_map(|event| event["fields"]["message"].as_str()).collect();
    // Each is logged once.
    for (expected, what) in
        [("rate limits are on", "rate limits are on"), ("ratelimit block add", "192.0.2.0/24")]
    {
        let is_it = |message: &&&str| message.contains(expected) && message.contains(what);
        assert_eq!(logged.iter().filter(is_it).count(), 1, "{expected}: {logged:?}");
    }

    // Why it does not start is on standard output, as of all commands; whatever else is said is JSON too.
    let broken = "version = \"v1\"\n[server]\nlissen = []\n";
    std::fs::write(folder.join("broken.toml"), broken).expect("the configuration");
    let output = run(folder, SEALDNS, &["run", "--json", "--config", "broken.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["error"]["hint"], "did you mean `listen`?", "{said}");
    for line in text(&output.stderr).lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn all_faults_of_a_zone_are_a_list_with_their_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let zone = "@ 300 SOA ns host 1 7200 3600 1209600 300\n@ 300 NS ns\nns 300 A 192.0.2.300\n\
                $INCLUDE more\nb 300 TXT fine\nc 300 MX 10\n";
    std::fs::write(folder.join("zone"), zone).expect("the zone");
    std::fs::write(folder.join("more"), "a 300 AA ::1\n\n  300 TXT fine\n").expect("a file");
    let check = || {
        let output = run(folder, SEALDNS, &["zone", "check", "--json", "--zone", "a.test", "zone"]);
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let places: Vec<String> = said["findings"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| {
                let [file, severity, code] =
                    ["file", "severity", "code"].map(|field| one[field].as_str().expect("a word"));
                assert!(one["message"].is_string());
                format!("{file}:{}:{} {severity} {code}", one["line"], one["column"])
            })
            .collect();
        (output.status.code(), places, said)
    };
    let (code, places, said) = check();
    let expected = ["more:1:7 error syntax", "zone:3:10 error syntax", "zone:6:12 error syntax"];
    assert_eq!((code, &places[..]), (Some(3), &expected.map(str::to_owned)[..]), "{said}");
    assert_eq!(said["ok"], false);
    // What is a zone is looked at as a whole; warnings alone leave it right.
    std::fs::write(folder.join("more"), "a 300 AAAA ::1\n").expect("a file");
    let right = zone.replace("192.0.2.300", "192.0.2.3").replace("MX 10\n", "MX 10 mail\n");
    std::fs::write(folder.join("zone"), right.replace("NS ns", "NS a")).expect("the zone");
    let (code, places, said) = check();
    assert_eq!(
        (code, &places[..]),
        (Some(0), &["zone:6:1 warning mx-without-address".to_owned()][..])
    );
    assert_eq!((&said["ok"], &said["records"]), (&Value::Bool(true), &Value::from(6)));
    std::fs::write(folder.join("zone"), right.replace("NS ns", "NS none")).expect("the zone");
    let (code, places, _) = check();
    assert_eq!((code, &places[0][..]), (Some(3), "zone:2:1 error ns-without-address"));
}
