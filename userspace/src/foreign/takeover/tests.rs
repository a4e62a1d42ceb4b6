use std::fs;

use super::*;
use crate::config::Config;

fn local() -> Vec<LocalAddress> {
    let of = |interface: &str, address: &str| LocalAddress {
        interface: interface.to_owned(),
        address: address.parse().unwrap(),
    };
    vec![
        of("lo", "127.0.0.1"),
        of("lo", "::1"),
        of("eth7", "192.0.2.1"),
        of("eth8", "198.51.100.1"),
        of("eth7", "2001:db8::1"),
    ]
}

/// What is read of files, of which the first one is asked for. Paths are told from their folder.
fn read(files: &[(&str, &str)]) -> Result<Takeover, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("FOLDER", &folder.path().display().to_string())).unwrap();
    }
    let read = Takeover::read(&folder.path().join(files[0].0), None, &local());
    let prefix = format!("{}/", folder.path().display());
    let mut takeover = read.map_err(|fault| fault.0.replace(&prefix, ""))?;
    for text in takeover.notes.iter_mut().chain(&mut takeover.advice) {
        *text = text.replace(&prefix, "");
    }
    Ok(takeover)
}

fn addresses(takeover: &Takeover) -> Vec<String> {
    takeover.listens.iter().map(ToString::to_string).collect()
}

fn zones(takeover: &Takeover) -> Vec<String> {
    takeover.zones.keys().map(ToString::to_string).collect()
}

const ALL: [&str; 5] =
    ["127.0.0.1:53", "192.0.2.1:53", "198.51.100.1:53", "[::1]:53", "[2001:db8::1]:53"];

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn named_s_zones_are_those_that_it_has_of_its_own_for_all() {
    let takeover = read(&[
        (
            "named.conf",
            "include \"named.conf.options\";\n\
             zone \"example.com\" { type primary; file \"db\"; dnssec-policy default; };\n\
             zone \"example.net.\" IN { type slave; masters { 203.0.113.1; }; allow-transfer { none; }; };\n\
             zone \".\" { type hint; file \"root\"; };\n\
             zone \"localhost\" { type master; file \"db.local\"; };\n\
             zone \"fwd.example\" { type forward; forwarders { 192.0.2.3; }; };\n\
             zone \"example.ch\" CH { type primary; file \"ch\"; };\n\
             zone \"in-..valid\" { type primary; file \"x\"; };\n",
        ),
        (
            "named.conf.options",
            "acl inside { 192.0.2.0/24; };\n\
             options {\n  listen-on { !198.51.100.0/24; any; };\n  listen-on port 853 tls x { any; };\n\
               listen-on-v6 { none; };\n\
               cookie-secret \"0123456789abcdef0123456789abcdef\";\n  allow-transfer { inside; };\n};\n",
        ),
    ])
    .unwrap();
    assert_eq!(takeover.server, Server::Named);
    assert_eq!(addresses(&takeover), ["127.0.0.1:53", "192.0.2.1:53"]);
    assert_eq!(zones(&takeover), ["example.com.", "example.net."]);
    assert_eq!(takeover.cookie_secret.as_deref(), Some(SECRET));
    assert_eq!(
        takeover.advice,
        [
            "options {",
            "    // named.conf.options:7: add to allow-transfer: 127.0.0.1;",
            "    also-notify { 127.0.0.1 port 5300; };",
            "};",
            "// line 3: this zone has an allow-transfer of its own: the same there",
        ]
    );
    let [localhost, forwarded, class, invalid] = &takeover.notes[..] else {
        panic!("{:?}", takeover.notes)
    };
    assert_eq!(localhost, "line 5: zone localhost is left out: it is this host's own");
    assert_eq!(forwarded, "line 6: zone fwd.example is left out: forward");
    assert_eq!(class, "line 7: zone example.ch is left out: class CH");
    assert!(invalid.starts_with("line 8: zone \"in-..valid\" is left out: "), "{invalid}");
}

#[test]
fn zones_of_several_views_are_the_server_s() {
    let takeover = read(&[(
        "named.conf",
        "view inside {\n match-clients { 192.0.2.0/24; };\n zone \"a.example\" { type primary; file \"a\"; };\n};\n\
         view outside {\n zone \"A.example.\" { type primary; file \"b\"; };\n\
         zone \"b.example\" { type primary; file \"c\"; };\n};\n",
    )])
    .unwrap();
    assert_eq!(zones(&takeover), ["b.example."]);
    assert_eq!(takeover.notes.len(), 2, "{:?}", takeover.notes);
    // Without a list it listens on every address.
    assert_eq!(addresses(&takeover), ALL);
}

#[test]
fn braces_have_an_end() {
    let text = format!("{}{}", "a { ".repeat(100), "}; ".repeat(100));
    let fault = read(&[("named.conf", &text)]).unwrap_err();
    assert!(fault.ends_with("braces are nested more than 20 deep"), "{fault}");
}

#[test]
fn knot_s_templates_say_what_its_zones_do_not() {
    let takeover = read(&[
        (
            "knot.conf",
            "server:\n    listen: [ 0.0.0.0@53, 2001:db8::1@5353 ]\n    listen: /run/knot.sock\n\
             mod-cookies:\n  - id: default\n    secret: 0x0123456789abcdef0123456789abcdef\n\
             template:\n  - id: default\n    storage: /var\n    notify: [ a ]\n\
             \x20 - id: members\n    catalog-role: interpret\n\
             include: zones.d/*.conf\n",
        ),
        (
            "zones.d/a.conf",
            "zone:\n  - domain: example.com\n    acl: other\n  - domain: catalog.example\n    template: members\n\
             \x20 - domain: example.net.\n",
        ),
    ])
    .unwrap();
    assert_eq!(takeover.server, Server::Knot);
    let expected = ["127.0.0.1:53", "192.0.2.1:53", "198.51.100.1:53", "[2001:db8::1]:5353"];
    assert_eq!(addresses(&takeover), expected);
    assert_eq!(zones(&takeover), ["example.com.", "example.net."]);
    assert_eq!(takeover.cookie_secret.as_deref(), Some(SECRET));
    let catalog = "zones.d/a.conf:4: zone catalog.example is left out: it is a catalog: list its members with --zones";
    assert_eq!(takeover.notes, [catalog]);
    assert_eq!(
        takeover.advice[7..],
        [
            "template:",
            "  - id: default",
            "    # line 10: add to notify: sealdns",
            "    acl: sealdns",
            "# zones.d/a.conf:3: this zone has acl of its own: add sealdns there, too",
        ]
    );
    let fault = read(&[("knot.conf", "server:\n    listen: here\n")]).unwrap_err();
    assert_eq!(fault, "knot.conf:2:5: listen: \"here\" is not an address");
}

#[test]
fn nsd_s_zones_and_patterns_are_read() {
    let takeover = read(&[(
        "nsd.conf",
        "server:\n\tip-address: eth7\n\tip-address: 198.51.100.1@54 setfib=1\n\tport: 5300 # like others\n\
         \tcookie-secret: \"0123456789abcdef0123456789abcdef\"\npattern:\n\tname: \"all\"\n\tzonefile: \"%s.zone\"\n\
         zone:\n\tname: example.com\n\tinclude-pattern: all\nzone:\nname: \"example.net\"\n",
    )])
    .unwrap();
    assert_eq!(takeover.server, Server::Nsd);
    let expected = ["192.0.2.1:5300", "[2001:db8::1]:5300", "198.51.100.1:54"];
    assert_eq!(addresses(&takeover), expected);
    assert_eq!(zones(&takeover), ["example.com.", "example.net."]);
    assert_eq!(takeover.cookie_secret.as_deref(), Some(SECRET));
    // It does not listen on loopback: it sees another address.
    assert_eq!(takeover.advice[1], "    provide-xfr: 192.0.2.1 NOKEY");
    // The folder that a distribution's file includes is empty at first.
    let plain = "server:\n\tzonesdir: /etc\ninclude: \"FOLDER/nsd.conf.d/*.conf\"\n";
    let plain = read(&[("nsd.conf", plain)]).unwrap();
    assert_eq!(addresses(&plain).len(), ALL.len());
    let fault = read(&[("nsd.conf", "server:\n\tip-address: eth9\n")]).unwrap_err();
    assert!(fault.starts_with("nsd.conf:2:2: ip-address: \"eth9\" is no address"), "{fault}");
}

#[test]
fn what_powerdns_is_told_later_holds() {
    let takeover = read(&[
        (
            "pdns.conf",
            "# comment\nlaunch=gsqlite3\nlaunch+=bind\nlocal-address=192.0.2.1, [2001:db8::1]:5300\n\
             bind-config=FOLDER/named.conf\ninclude-dir=FOLDER/pdns.d\nallow-axfr-ips=203.0.113.0/24\n",
        ),
        ("named.conf", "zone \"example.com\" { type native; file \"a\"; };\nzone \"example.net\" { type master; file \"b\"; };\n"),
        ("pdns.d/a.conf", "edns-cookie-secret=0123456789abcdef0123456789abcdef\nlocal-address+=127.0.0.1\n"),
        ("pdns.d/b.txt", "not read"),
    ])
    .unwrap();
    assert_eq!(takeover.server, Server::Pdns);
    assert_eq!(addresses(&takeover), ["192.0.2.1:53", "[2001:db8::1]:5300", "127.0.0.1:53"]);
    assert_eq!(zones(&takeover), ["example.com.", "example.net."]);
    assert_eq!(takeover.cookie_secret.as_deref(), Some(SECRET));
    assert_eq!(takeover.advice[0], "allow-axfr-ips=203.0.113.0/24,127.0.0.1");
    assert_eq!(takeover.advice[1], "also-notify+=127.0.0.1:5300");
    assert!(takeover.notes.iter().any(|note| note.contains("pdnsutil list-all-zones")));
    let fault = read(&[("pdns.conf", "launch=bind\nthis is nothing\n")]).unwrap_err();
    assert_eq!(fault, "pdns.conf:2:1: this is no `key=value`");
}

#[test]
fn further_zones_are_listed_a_line_each() {
    let mut takeover = Takeover::new(Server::Pdns);
    takeover
        .add_zones("example.com\n# not this\n\nexample.net. more\n", Path::new("list"))
        .unwrap();
    assert_eq!(zones(&takeover), ["example.com.", "example.net."]);
    let fault = takeover.add_zones("a..b\n", Path::new("list")).unwrap_err();
    assert!(fault.0.starts_with("list:1:1: \"a..b\": "), "{fault}");
}

/// What is written is a configuration, whatever stands in names.
#[test]
fn what_is_written_is_read() {
    let mut takeover = Takeover::new(Server::Nsd);
    takeover.listens = vec!["127.0.0.1:53".parse().unwrap(), "192.0.2.1:53".parse().unwrap()];
    takeover.share_cookies(SECRET);
    for (name, is_signed) in
        [("example.com", Some(true)), ("a\\\"b\\\\.example", None), ("c", Some(false))]
    {
        takeover.zones.insert(name.parse().unwrap(), is_signed);
    }
    let text = takeover.write(&local());
    let config = Config::parse(&text, Path::new("")).unwrap();
    assert!(config.zones().map(|zone| &zone.name).eq(takeover.zones.keys()));
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["xdp"]["interfaces"], toml::Value::from(vec!["eth7"]));
    assert_eq!(table["xdp"]["addresses"], toml::Value::from(vec!["192.0.2.1"]));
    assert_eq!(table["front"]["server"].as_str(), Some("127.0.0.1:53"));
    let zones = table["zone"].as_array().unwrap();
    let unsigned: Vec<_> = zones.iter().filter(|zone| zone.get("dnssec").is_some()).collect();
    assert_eq!(unsigned.len(), 1);
    assert_eq!(unsigned[0]["dnssec"].as_str(), Some("off"));
    takeover.share_cookies("00");
    assert_eq!(takeover.notes.len(), 1);
}

proptest::proptest! {
    /// Whatever is in the file, it is read to its end, or refused with a place.
    #[test]
    fn damaged_files_do_no_harm(text in "([a-z -]|[{};:=\"\n#/*\\[\\]@.0-9-]|zone|listen|server:|name:|- domain: |template:|type primary;|é|launch=){0,60}") {
        for server in [Server::Named, Server::Knot, Server::Nsd, Server::Pdns] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("conf");
            fs::write(&file, &text).unwrap();
            if let Ok(takeover) = Takeover::read(&file, Some(server), &local()) {
                let _: toml::Table = takeover.write(&local()).parse().unwrap();
            }
        }
    }
}
