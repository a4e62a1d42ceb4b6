//! Good configurations, bad ones and what is said of them.

use super::ratelimit::ZoneRateLimit;
use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("sealdns.toml"))
}

/// Line, column, message and hint of what is wrong with `text`.
fn fault(text: &str) -> (usize, usize, String, String) {
    match parse(text).expect_err("a faulty configuration") {
        ConfigError::Invalid { line, column, message, hint, .. } => {
            (line, column, message, hint.unwrap_or_default())
        }
        error => panic!("{error}"),
    }
}

#[test]
fn the_template_says_the_defaults() {
    let defaults = parse("version = \"v1\"\n").unwrap();
    assert_eq!(parse(TEMPLATE).unwrap(), defaults);
}

#[test]
fn the_template_s_zone_section_is_valid_and_says_the_defaults() {
    let (head, zone) = TEMPLATE.split_once("# [[zone]]\n").unwrap();
    let zone: String = zone.lines().map(|line| format!("{}\n", &line[2..])).collect();
    let config = parse(&format!("{head}[[zone]]\n{zone}")).unwrap();
    let least = "version = \"v1\"\n[[zone]]\nname = \"example.com\"\nfile = \"example.com.zone\"";
    let mut zones: Vec<Zone> = config.zones().cloned().collect();
    assert_eq!(zones[0].ratelimit.take(), Some(ZoneRateLimit::default()));
    assert_eq!(zones[0].warn_before.take(), Some(config.health.warn_before));
    assert_eq!(zones, parse(least).unwrap().zones().cloned().collect::<Vec<_>>());
}

#[test]
fn the_template_has_every_setting() {
    let sections = [
        ("", "qq = 1"),
        ("[server]", "[server]\nqq = 1"),
        ("[xdp]", "[xdp]\nqq = 1"),
        ("[cookies]", "[cookies]\nqq = 1"),
        ("[ratelimit]", "[ratelimit]\nqq = 1"),
        ("[health]", "[health]\nqq = 1"),
        ("[front]", "[front]\nqq = 1"),
        ("[policy.default]", "[policy.default]\nqq = 1"),
        ("[[zone]]", "[[zone]]\nqq = 1"),
        ("[[tsig]]", "[[tsig]]\nqq = 1"),
        ("[template.t]", "[template.t]\nqq = 1"),
    ];
    for (section, text) in sections {
        let (_, _, _, hint) = fault(&format!("version = \"v1\"\n{text}"));
        let known = hint.strip_prefix("known here: ").expect(&hint);
        let is_alias = |key: &&str| {
            *key == "dry-run" || ratelimit::ALIASES.iter().any(|(alias, _)| alias == key)
        };
        for key in known.split(", ").filter(|key| !is_alias(key)) {
            let shown = TEMPLATE.lines().any(|line| {
                let line = line.strip_prefix("# ").unwrap_or(line);
                line.starts_with(&format!("{key} = "))
                    || line.starts_with(&format!("[{key}"))
                    || line.starts_with(&format!("[[{key}]]"))
                    || line == format!("[zone.{key}]")
                    || line.contains(&format!("[{key}.NAME]"))
            });
            assert!(shown, "{section}: {key} is not in the template");
        }
    }
}

#[test]
fn unknown_keys_have_a_place_and_a_suggestion() {
    let text = "version = \"v1\"\n[server]\n  lisen = []\n";
    let (line, column, message, hint) = fault(text);
    assert_eq!((line, column), (3, 3));
    assert_eq!(message, "unknown key `lisen`");
    assert_eq!(hint, "did you mean `listen`?");
    let shown = parse(text).unwrap_err().to_string();
    assert_eq!(shown, "sealdns.toml:3:3: unknown key `lisen`\n    lisen = []\n    ^");
}

#[test]
fn what_has_no_effect_is_refused() {
    for text in [
        "version = \"v1\"\n[metrics]\n".to_owned(),
        "version = \"v1\"\n[policy.default]\nalgorithm = \"RSASHA256\"\n".to_owned(),
        "version = \"v1\"\n[policy.default]\nksk-lifetime = \"365d\"\n".to_owned(),
    ] {
        assert!(fault(&text).2.contains("not supported yet"), "{text}");
    }
}

#[test]
fn faults_are_said_where_they_stand() {
    assert_eq!(fault("[server]\n").2, "the key `version` is missing");
    let (line, _, message, hint) = fault("version = \"v2\"\n");
    assert_eq!((line, message.as_str()), (1, "unknown value `v2`"));
    assert_eq!(hint, "did you mean `v1`?");
    let (line, column, message, _) = fault(
        "version = \"v1\"\n[server]\nlisten = [\"192.0.2.1:53\", \"[::]:53\", \"0.0.0.0:53\"]\n",
    );
    assert_eq!((line, column), (3, 12), "{message}");
    assert!(message.contains("wildcard"), "{message}");
    for (key, value) in [
        ("tcp-idle-timeout", "\"10\""),
        ("tcp-idle-timeout", "\"0s\""),
        ("tcp-idle-timeout", "\"s\""),
        ("tcp-idle-timeout", "10"),
        ("udp-payload", "100"),
        ("tcp-connections", "0"),
        ("listen", "[\"192.0.2.1\", \"192.0.2.1:53\"]"),
        ("listen", "[\"example.com:53\"]"),
    ] {
        let (line, ..) = fault(&format!("version = \"v1\"\n[server]\n{key} = {value}\n"));
        assert_eq!(line, 3, "{key} = {value}");
    }
    let twice = "version = \"v1\"\n[[zone]]\nname = \"a\"\nfile = \"f\"\n\
                 [[zone]]\nname = \"A.\"\nfile = \"g\"\n";
    let (line, _, message, _) = fault(twice);
    assert_eq!(
        (line, message.as_str()),
        (5, "the zone a. is configured twice, first at sealdns.toml:2")
    );
    let (_, _, message, hint) =
        fault("version = \"v1\"\n[[zone]]\nname = \"a\"\nfile = \"f\"\npolicy = \"x\"\n");
    assert_eq!(message, "zone a.: there is no policy named \"x\"");
    assert_eq!(hint, "add a section [policy.x]");
}

#[test]
fn settings_of_xdp_have_their_values() {
    let xdp = |text: &str| parse(&format!("version = \"v1\"\n[xdp]\n{text}\n")).unwrap().xdp;
    let fault = |text: &str| fault(&format!("version = \"v1\"\n[xdp]\n{text}\n"));
    for (word, tcx) in [("auto", TcxMode::Auto), ("on", TcxMode::On), ("off", TcxMode::Off)] {
        assert_eq!(xdp(&format!("tcx = \"{word}\"")).tcx, tcx);
    }
    let (line, _, message, hint) = fault("tcx = \"onn\"");
    assert_eq!((line, message.as_str()), (3, "unknown value `onn`"));
    assert_eq!(hint, "did you mean `on`?");

    assert_eq!(xdp("mode = \"tcx\"").mode, XdpMode::Tcx);
    let (line, _, message, _) = fault("mode = \"tcx\"\ntcx = \"off\"");
    assert_eq!(line, 4);
    assert!(message.contains("nothing would answer"), "{message}");

    assert_eq!(xdp("").pin.path(), None);
    let kept = xdp("pin = \"/sys/fs/bpf/sealdns\"\non-exit = \"keep\"");
    assert_eq!(kept.pin.path(), Some(Path::new(DEFAULT_PIN)));
    assert_eq!(kept.on_exit, OnExit::Keep);
    for folder in ["sealdns", "/", "/sealdns"] {
        let (line, _, message, _) = fault(&format!("pin = \"{folder}\""));
        assert_eq!(line, 3);
        assert!(message.contains("a BPF file system"), "{message}");
    }
    let (line, _, message, hint) = fault("on-exit = \"keep\"");
    assert_eq!(line, 3);
    assert!(message.contains("needs `pin`") && hint.contains("set pin ="), "{message} {hint}");
}

#[test]
fn signatures_are_verified_first_in_the_background_or_never() {
    let head = "version = \"v1\"\n";
    let zone = "[[zone]]\nname = \"example\"\nfile = \"zone\"\n";
    let verify =
        |line: &str| parse(&format!("{head}{zone}{line}")).unwrap().zones().next().unwrap().verify;
    assert_eq!(verify(""), Verify::First);
    assert_eq!(verify("verify = true"), Verify::First);
    assert_eq!(verify("verify = \"first\""), Verify::First);
    assert_eq!(verify("verify = \"background\""), Verify::Background);
    assert_eq!(verify("verify = false"), Verify::Never);
    for wrong in ["\"later\"", "1", "[]"] {
        let (line, _, message, _) = fault(&format!("{head}{zone}verify = {wrong}"));
        assert_eq!(line, 5);
        assert!(message.contains("\"background\" or false"), "{message}");
    }
    // Another server would send what this one withholds.
    let xdp = "[xdp]\ninterfaces = [\"eth7\"]\naddresses = [\"192.0.2.1\"]\n";
    let (.., message, hint) = fault(&format!("{head}{xdp}{zone}verify = \"background\""));
    assert!(message.contains("needs `listen`") && hint.contains("first"), "{message} {hint}");
    assert!(parse(&format!("{head}{xdp}{zone}verify = \"first\"")).is_ok());
}

#[test]
fn keys_and_servers_of_transfers_are_read() {
    let (head, key) = TEMPLATE.split_once("# [[tsig]]\n").unwrap();
    let key = key.split_once("\n\n").unwrap().0;
    let key: String = key.lines().map(|line| format!("{}\n", &line[2..])).collect();
    let secret = "MDEyMzQ1Njc4OWFiY2RlZg==";
    let key = key.replace("secret = \"\"", &format!("secret = \"{secret}\""));
    let zone = "[[zone]]\nname = \"a\"\nfile = \"f\"\ntsig = \"Transfer\"\n\
                notify = [\"192.0.2.54\", \"[2001:db8::54]:5353\"]\n\
                allow-transfer = [\"192.0.2.0/24\", \"key transfer.\"]\n";
    let config = parse(&format!("{head}[[tsig]]\n{key}{zone}")).unwrap();
    let name: Name = "transfer.".parse().unwrap();
    let key = config.tsig_keys().next().unwrap();
    assert_eq!((&key.name, key.algorithm), (&name, TsigAlgorithm::Sha256));
    assert_eq!(key.secret.as_ref().unwrap().0.as_slice(), b"0123456789abcdef");
    assert_eq!(format!("{:?}", key.secret), "Some(TsigSecret(..))");
    let zone = config.zones().next().unwrap();
    assert_eq!(zone.tsig.as_ref(), Some(&name));
    let notified = zone.notify.iter().map(|server| server.0.to_string());
    assert_eq!(notified.collect::<Vec<_>>(), ["192.0.2.54:53", "[2001:db8::54]:5353"]);
    let allowed = zone.allow_transfer.iter().map(ToString::to_string);
    assert_eq!(allowed.collect::<Vec<_>>(), ["192.0.2.0/24", "key transfer."]);
    let primaries = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        table["primaries"].clone().try_into::<Vec<Primary>>().unwrap()
    };
    let found =
        primaries("primaries = [\"192.0.2.53\", { address = \"[::2]:54\", tsig = \"One\" }]");
    let found = found.iter().map(|one| (one.address.0.to_string(), one.tsig.clone()));
    let expected =
        [("192.0.2.53:53".to_owned(), None), ("[::2]:54".to_owned(), Some("one".parse().unwrap()))];
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn faults_of_keys_and_transfers_are_said_where_they_stand() {
    let good = "[[tsig]]\nname = \"one\"\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZg==\"\n";
    let zone = "[[zone]]\nname = \"a\"\nfile = \"f\"\n";
    for (text, place, said) in [
        (
            "[[tsig]]\nname = \"one\"\nsecret = \"MDEy\"\n",
            (4, 10),
            "at least 16 octets, this one has 3",
        ),
        ("[[tsig]]\nname = \"one\"\nsecret = \"not base64!\"\n", (4, 10), "written in base64"),
        ("[[tsig]]\nname = \"one\"\n", (2, 1), "the TSIG key one. has no secret"),
        ("[[tsig]]\nsecret-file = \"f\"\n", (2, 1), "the key `name` is missing"),
        ("[[tsig]]\nname = \"\"\nsecret-file = \"f\"\n", (3, 8), "name"),
        (
            "[[tsig]]\nname = \"one\"\nalgorithm = \"hmac-md5\"\nsecret-file = \"f\"\n",
            (4, 13),
            "unknown value `hmac-md5`",
        ),
        (&format!("{good}secret-file = \"f\"\n"), (2, 1), "both `secret` and `secret-file`"),
        (&format!("{good}{good}"), (5, 1), "is configured twice"),
        (&format!("{good}{zone}tsig = \"two\"\n"), (8, 9), "no TSIG key named \"two.\""),
        (
            &format!("{good}{zone}allow-transfer = [\"key one\", \"key two.\"]\n"),
            (8, 35),
            "no TSIG key named \"two.\"",
        ),
        (
            &format!("{zone}allow-transfer = [\"192.0.2.0/33\"]\n"),
            (5, 19),
            "neither an address prefix",
        ),
        (&format!("{zone}allow-transfer = [\"key \"]\n"), (5, 19), "names no key"),
        (&format!("{zone}notify = [\"192.0.2.1\", \"example\"]\n"), (5, 24), "is not an address"),
        (&format!("{zone}notify = [\"0.0.0.0\"]\n"), (5, 11), "is the address of no server"),
        (
            &format!("{zone}primaries = [{{ adress = \"192.0.2.1\" }}]\n"),
            (5, 16),
            "unknown key `adress`",
        ),
        (&format!("{zone}primaries = [\"192.0.2.1\"]\n"), (5, 1), "both `file` and `primaries`"),
        ("[[zone]]\nname = \"a\"\n", (2, 1), "`file` is missing"),
    ] {
        let text = format!("version = \"v1\"\n{text}");
        let (line, column, message, _) = fault(&text);
        assert!(message.contains(said), "{message} for {text}");
        assert_eq!((line, column), place, "{message} for {text}");
        let shown = parse(&text).unwrap_err().to_string();
        assert!(!shown.contains("MDE") && !shown.contains("not base64"), "{shown}");
    }
}

#[test]
fn sizes_have_a_unit() {
    assert_eq!(ByteSize::from_text("512MiB"), Some(ByteSize(512 << 20)));
    assert_eq!(ByteSize::from_text("1 GiB"), Some(ByteSize(1 << 30)));
    assert_eq!(ByteSize::from_text("512"), None);
    assert_eq!(ByteSize::from_text("99999999999GiB"), None);
}

#[test]
fn names_are_read_as_written_in_master_files() {
    let wire =
        |text: &str| text.parse::<crate::zone::Name>().ok().map(|name| name.as_wire().to_vec());
    assert_eq!(wire("Example.COM").unwrap(), b"\x07example\x03com\x00");
    assert_eq!(wire("a\\.b\\065.").unwrap(), b"\x04a.ba\x00");
    assert_eq!(wire(".").unwrap(), b"\x00");
    for bad in ["", "a..b", ".a", "a b", "\\", "\\25", "\\300", &"a".repeat(64)] {
        assert_eq!(wire(bad), None, "{bad:?}");
    }
}

#[test]
fn paths_start_at_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sealdns.toml");
    let text = "version = \"v1\"\n[server]\nstate-dir = \"state\"\n\
                [[zone]]\nname = \"a\"\nfile = \"a.zone\"\n";
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.zones().next().unwrap().file, folder.path().join("a.zone"));
    assert_eq!(config.server.state_dir, folder.path().join("state"));
    assert_eq!(config.server.control, Path::new(DEFAULT_CONTROL));
}

#[test]
fn a_zone_has_what_it_says_and_else_what_its_template_says() {
    let text = "version = \"v1\"\n\
        [template.edge]\nprimaries = [\"192.0.2.1\"]\ndnssec = \"presigned\"\nverify = \"background\"\n\
        notify = [\"192.0.2.7\"]\n[template.edge.ratelimit]\nrate = 7\n\
        [template.files]\nfile = \"zones/{zone}.zone\"\nallow-transfer = [\"192.0.2.0/24\"]\n\
        [[zone]]\nname = \"a\"\ntemplate = \"edge\"\nverify = false\nnotify = []\n\
        [[zone]]\nname = \"b\"\ntemplate = \"edge\"\nfile = \"b.zone\"\n\
        [[zone]]\nname = 'c\\/..\\032.example.com'\ntemplate = \"files\"\n\
        [[zone]]\nname = \".\"\ntemplate = \"files\"\n\
        [[zone]]\nname = \"d\"\ntemplate = \"files\"\nprimaries = [\"192.0.2.2\"]\n";
    let text = text.replace("c\\/..\\032", "c\\/\\.\\.\\032");
    let config = parse(&text).unwrap();
    let zones: Vec<&Zone> = config.zones().collect();
    let address = zones[0].primaries[0].address.0.to_string();
    assert_eq!((address.as_str(), zones[0].dnssec), ("192.0.2.1:53", Dnssec::Presigned));
    assert_eq!((zones[0].verify, zones[0].notify.len()), (Verify::Never, 0));
    assert!(zones[0].ratelimit.is_some());
    assert_eq!((zones[1].file.to_str(), zones[1].primaries.len()), (Some("b.zone"), 0));
    assert_eq!(zones[1].notify.len(), 1);
    assert_eq!(zones[2].file.to_str(), Some("zones/c%2F%2E%2E%20.example.com.zone"));
    assert_eq!(zones[2].allow_transfer.len(), 1);
    assert_eq!(zones[3].file.to_str(), Some("zones/@.zone"));
    assert_eq!((zones[4].file.to_str(), zones[4].primaries.len()), (Some(""), 1));
}

#[test]
fn faults_of_templates_are_said_where_they_stand() {
    let head = "version = \"v1\"\n";
    for (text, place, said) in [
        ("[template.t]\nname = \"a\"\n", (3, 1), "has a `name`"),
        ("[template.t]\ntemplate = \"u\"\n", (3, 1), "has a `template`"),
        ("[template.t]\nfiel = \"u\"\n", (3, 1), "unknown key `fiel`"),
        (
            "[[zone]]\nname = \"a\"\ntemplate = \"t\"\n[[zone]]\nname = \"b\"\n",
            (4, 1),
            "zone a.: there is no template named \"t\"",
        ),
        (
            "[[zone]]\nname = \"a\"\ntemplate = \"t\"\n[template.t]\nfile = \"f\"\ntsig = \"key\"\n",
            (7, 9),
            "no TSIG key named \"key.\"",
        ),
        ("[[zone]]\ntemplate = \"t\"\n[template.t]\n", (2, 1), "the key `name` is missing"),
    ] {
        let (line, column, message, _) = fault(&format!("{head}{text}"));
        assert!(message.contains(said), "{message} for {text}");
        assert_eq!((line, column), place, "{message} for {text}");
    }
}

#[test]
fn catalogs_say_by_what_their_members_are_served() {
    let head = "version = \"v1\"\n[template.t]\nfile = \"{zone}\"\n[template.u]\nprimaries = [\"192.0.2.1\"]\n";
    let zone =
        "[[zone]]\nname = \"cat\"\nfile = \"f\"\ncatalog = \"consume\"\nmember-template = \"t\"\n";
    let text = format!("{head}{zone}member-groups = {{ far = \"u\" }}\n");
    let config = parse(&text).unwrap();
    let [cat, one]: [Name; 2] = ["cat", "one"].map(|name| name.parse().unwrap());
    assert_eq!(config.zones().next().unwrap().dnssec, Dnssec::Off);
    let (member, group) = config.member(&cat, &one, &["none".to_owned()]).unwrap();
    assert_eq!((member.file.to_str(), group), (Some("one"), None));
    let (member, group) =
        config.member(&cat, &one, &["none".to_owned(), "far".to_owned()]).unwrap();
    assert_eq!((member.primaries.len(), group.as_deref()), (1, Some("far")));
    assert!(config.member(&one, &one, &[]).is_none());
    let made = "[[zone]]\nname = \"made\"\ncatalog = \"produce\"\n";
    let of = "[[zone]]\nname = \"a\"\nfile = \"f\"\nin-catalog = \"made\"\ncatalog-group = \"g\"\n";
    assert!(parse(&format!("{head}{made}{of}")).is_ok());
    for (text, place, said) in [
        (format!("{head}{}", zone.replace("\"t\"", "\"v\"")), (10, 19), "no template named \"v\""),
        (
            format!("{head}{}", zone.replace("member-template = \"t\"\n", "")),
            (9, 1),
            "by which template",
        ),
        (format!("{head}{}", zone.replace("consume", "produce")), (9, 1), "comes from nowhere"),
        (format!("{head}{made}member-template = \"t\"\n"), (9, 1), "are of catalogs"),
        (format!("{head}{made}dnssec = \"sign\"\n"), (8, 1), "neither signed nor updated"),
        (format!("{head}{of}"), (9, 1), "no catalog made. is produced"),
        (
            format!("{head}{made}{}", of.replace("in-catalog", "tsig").replace("\"made\"", "\"\"")),
            (13, 1),
            "set",
        ),
        (
            format!("version = \"v1\"\n[template.t]\nfile = \"f\"\nin-catalog = \"none\"\n{zone}"),
            (4, 1),
            "no catalog none.",
        ),
        (
            format!("version = \"v1\"\n[template.t]\n{zone}"),
            (7, 19),
            "by the template t: zone cat.: the key `file`",
        ),
        (
            format!("version = \"v1\"\n[template.t]\nfile = \"f\"\n[template.t.ratelimit]\n{zone}"),
            (9, 19),
            "limits of their own",
        ),
    ] {
        let (line, column, message, hint) = fault(&text);
        assert!(message.contains(said) || hint.contains(said), "{message} {hint} for {text}");
        assert_eq!((line, column), place, "{message} for {text}");
    }
}

/// Writes these files; what the first of them says as a configuration.
fn load(folder: &Path, files: &[(&str, &str)]) -> Result<Config, ConfigError> {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Config::load(&folder.join(files[0].0))
}

#[test]
fn files_are_included_in_the_order_of_their_names_and_paths_start_at_each() {
    let folder = tempfile::tempdir().unwrap();
    let config = load(
        folder.path(),
        &[
            (
                "sealdns.toml",
                "version = \"v1\"\ninclude = [\"zones.d/*.toml\", \"keys.toml\", \"none/*\"]\n\
                 [[zone]]\nname = \"z\"\ntemplate = \"t\"\npolicy = \"p\"\n",
            ),
            ("zones.d/b.toml", "[[zone]]\nname = \"b\"\nfile = \"b.zone\"\ntsig = \"key\"\n"),
            (
                "zones.d/a.toml",
                "include = [\"more/c.toml\"]\n[[zone]]\nname = \"a\"\nfile = \"/a.zone\"\n",
            ),
            ("zones.d/a.old", "what is this"),
            ("zones.d/more/c.toml", "[template.t]\nfile = \"{zone}\"\n[policy.p]\n"),
            ("keys.toml", "[[tsig]]\nname = \"key\"\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZg==\"\n"),
        ],
    );
    let config = config.unwrap();
    let zones: Vec<_> = config.zones().map(|zone| (zone.name.to_string(), &zone.file)).collect();
    let below = |path: &str| folder.path().join(path);
    let [z, b] = [below("zones.d/more/z"), below("zones.d/b.zone")];
    let a = PathBuf::from("/a.zone");
    assert_eq!(zones, [("z.".to_owned(), &z), ("a.".to_owned(), &a), ("b.".to_owned(), &b)]);
    assert!(config.policies.contains_key("p"));
    let with_secret = config.files.iter().filter(|file| file.has_tsig_secret);
    assert_eq!(with_secret.map(|file| &file.path).collect::<Vec<_>>(), [&below("keys.toml")]);
    assert_eq!(config.files.len(), 5);
}

#[test]
fn faults_of_included_files_name_the_file() {
    let main = |include: &str| format!("version = \"v1\"\ninclude = [{include}]\n");
    let zone = "[[zone]]\nname = \"a\"\nfile = \"f\"\n";
    let both = main("\"a.toml\", \"b.toml\"");
    for (main, others, (file, line, column), said) in [
        (&both, [("a.toml", "[[zon]]\n"), ("b.toml", "")], ("a.toml", 1, 3), "unknown key `zon`"),
        (
            &both,
            [("a.toml", zone), ("b.toml", zone)],
            ("b.toml", 1, 1),
            "the zone a. is configured twice, first at FOLDER/a.toml:1",
        ),
        (
            &both,
            [("a.toml", "[policy.p]\n"), ("b.toml", "\n[policy.p]\n")],
            ("b.toml", 2, 1),
            "the policy p is configured twice, first at FOLDER/a.toml:1",
        ),
        (
            &both,
            [("a.toml", "[template.t]\n"), ("b.toml", "[template.t]\n")],
            ("b.toml", 1, 1),
            "the template t is configured twice",
        ),
        (&both, [("a.toml", "\n[server]\n"), ("b.toml", "")], ("a.toml", 2, 1), "[server] stands"),
        (
            &main("\"a.toml\""),
            [("a.toml", "include = [\"b.toml\"]"), ("b.toml", "include = [\"*.toml\"]")],
            ("b.toml", 1, 12),
            "a.toml includes itself",
        ),
        (
            &main("\"a.toml\", \"./a.toml\""),
            [("a.toml", ""), ("b.toml", "")],
            ("main.toml", 2, 22),
            "a.toml is included twice",
        ),
        (
            &main("\"c.toml\""),
            [("a.toml", ""), ("b.toml", "")],
            ("main.toml", 2, 12),
            "there is no file FOLDER/c.toml",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = others;
        let error = load(folder.path(), &[("main.toml", main.as_str()), one, other]).unwrap_err();
        let ConfigError::Invalid { path, line: at, column: in_line, message, .. } = error else {
            panic!("{error}")
        };
        let said = said.replace("FOLDER", folder.path().to_str().unwrap());
        assert!(message.contains(&said), "{message}");
        assert_eq!((path, at, in_line), (folder.path().join(file), line, column), "{message}");
    }
}

proptest::proptest! {
    /// Whatever is in the file, there is an answer, and an error has a place in it.
    #[test]
    fn damaged_files_are_said(
        damage in proptest::collection::vec(
            (proptest::prelude::any::<proptest::sample::Index>(), ".{0,3}"), 1..4),
    ) {
        let mut text = TEMPLATE.to_owned();
        for (place, insert) in damage {
            let mut at = place.index(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.insert_str(at, &insert);
        }
        if let Err(ConfigError::Invalid { line, column, .. }) = parse(&text) {
            proptest::prop_assert!(line <= text.lines().count() + 1 && column >= 1);
        }
    }
}

/// In front of a server at loopback, with these lines besides.
fn in_front(more: &str) -> String {
    format!(
        "version = \"v1\"\n[front]\nserver = \"127.0.0.1\"\n[xdp]\ninterfaces = [\"eth0\"]\n\
         addresses = [\"192.0.2.1\"]\n{more}"
    )
}

#[test]
fn zones_in_front_of_a_server_are_its_own() {
    let config =
        parse(&in_front("[[zone]]\nname = \"a\"\n[[zone]]\nname = \"b\"\ndnssec = \"off\"\n"));
    let config = config.unwrap();
    let front = config.front.clone().unwrap();
    assert_eq!(front.server.0, "127.0.0.1:53".parse().unwrap());
    assert_eq!((front.notify, front.poll.seconds()), (None, 1));
    assert!(front.serve_behind.duration().is_zero() && !config.refuses());
    let zones: Vec<&Zone> = config.zones().collect();
    let of = |zone: &Zone| (zone.dnssec, zone.primaries[0].address, zone.front.is_some());
    assert_eq!(of(zones[0]), (Dnssec::Presigned, front.server, true));
    assert_eq!(of(zones[1]), (Dnssec::Off, front.server, true));
    // A secret that nobody else has makes cookies that the server does not know.
    assert!(!config.cookies.enabled);
    let secret = "[cookies]\nsecret = \"000102030405060708090a0b0c0d0e0f\"\n";
    assert!(parse(&in_front(secret)).unwrap().cookies.enabled);
}

#[test]
fn what_has_no_effect_in_front_of_a_server_is_refused() {
    let zone = |more: &str| in_front(&format!("[[zone]]\nname = \"a\"\n{more}\n"));
    for (text, said) in [
        (in_front("[server]\nlisten = [\"192.0.2.1:53\"]\n"), "no sockets"),
        (in_front("").replace("addresses = [\"192.0.2.1\"]", ""), "`addresses`"),
        (in_front("refuse = \"on\"\n"), "refuse"),
        (in_front("pin = \"/sys/fs/bpf/sealdns\"\n"), "`pin`"),
        (zone("file = \"a.zone\""), "`file`"),
        (zone("verify = \"background\""), "background"),
        (zone("dnssec = \"sign\""), "\"sign\""),
        (zone("primaries = [\"192.0.2.2\"]"), "`primaries`"),
        (
            in_front("").replace("\"127.0.0.1\"", "\"127.0.0.1\"\nnotify = \"192.0.2.1:53\""),
            "loopback",
        ),
    ] {
        let (_, _, message, _) = fault(&text);
        assert!(message.contains(said), "{message}");
    }
}
