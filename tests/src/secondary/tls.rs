//! Zone transfers and queries over TLS, with named, kdig and dig at the other end, and primaries that are not who they are to
//! be.

use super::*;

/// Where a primary is asked over TLS.
const OVER_TLS: &str = "127.0.0.1:8530";

/// The name in its certificate.
const NAME: &str = "primary.test";

const TEXT: &str =
    "$TTL 60\n@ SOA ns h 7 60 60 6000 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n";

/// An authority, and certificates that it has signed, as PEM files in a folder.
struct Authority<'a>(&'a Path);

impl Authority<'_> {
    /// One of this name.
    fn new<'f>(folder: &'f Path, name: &str) -> Result<Authority<'f>> {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        openssl(
            folder,
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "30",
                "-subj",
                &subject,
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        )?;
        Ok(Authority(folder))
    }

    /// A certificate and a key for a primary: `FILE.pem`, `FILE.key`. One that has expired was made long ago.
    fn sign(&self, authority: &str, file: &str, has_expired: bool) -> Result<()> {
        let (key, request) = (format!("{file}.key"), format!("{file}.csr"));
        let certificate = format!("{file}.pem");
        fs::write(self.0.join("names"), format!("subjectAltName=DNS:{NAME}\n"))?;
        openssl(
            self.0,
            &[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                "/CN=primary",
                "-keyout",
                &key,
                "-out",
                &request,
            ],
        )?;
        let (by, by_key) = (format!("{authority}.pem"), format!("{authority}.key"));
        let words = [
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &by,
            "-CAkey",
            &by_key,
            "-CAcreateserial",
            "-days",
            "3",
            "-extfile",
            "names",
            "-out",
            &certificate,
        ];
        let mut command = Command::new(if has_expired { "faketime" } else { "openssl" });
        if has_expired {
            command.args(["-f", "-30d", "openssl"]);
        }
        let output = net::output_within(command.args(words).current_dir(self.0), PATIENCE)?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    }

    /// The pin of a certificate's key, as RFC 7858 appendix A has it made.
    fn pin(&self, file: &str) -> Result<String> {
        let made = format!(
            "openssl x509 -in {file}.pem -pubkey -noout | openssl pkey -pubin -outform der | \
             openssl dgst -sha256 -binary | openssl enc -base64"
        );
        let mut command = Command::new("sh");
        let output = net::output_within(command.args(["-c", &made]).current_dir(self.0), PATIENCE)?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

fn openssl(folder: &Path, words: &[&str]) -> Result<()> {
    let output =
        net::output_within(Command::new("openssl").args(words).current_dir(folder), PATIENCE)?;
    ensure!(output.status.success(), "openssl {words:?}: {output:?}");
    Ok(())
}

/// BIND's name server over TLS and without.
fn named(folder: &Path, options: &str, zone: &str) -> Result<Process> {
    let here = folder.join("named");
    fs::create_dir_all(&here)?;
    fs::write(here.join("zone"), TEXT)?;
    let config = format!("{options}\ncontrols {{ }};\nzone \"{APEX}\" {{ {zone} }};\n",);
    fs::write(here.join("named.conf"), config)?;
    let mut command = Command::new(net::find_program("named").context("no named")?);
    command.args(["-g", "-n", "1", "-c"]).arg(here.join("named.conf")).current_dir(&here);
    let mut process = Process::spawn("named", &mut command)?;
    process.wait_for_line(PATIENCE, |line| line.trim_end().ends_with(" running"))?;
    Ok(process)
}

/// The daemon as a primary over TLS, with this certificate.
fn primary(folder: &Path, certificate: &str) -> Result<Process> {
    let here = folder.join(format!("primary-{certificate}"));
    fs::create_dir_all(&here)?;
    fs::write(here.join("zone"), TEXT)?;
    let config = format!(
        "version = \"v1\"\n[server]\nlisten = [\"{PRIMARY}\"]\nlisten-tls = [\"{OVER_TLS}\"]\n\
         tls-certificate = \"../{certificate}.pem\"\ntls-key = \"../{certificate}.key\"\n\
         control = \"control.sock\"\nstate-dir = \"state\"\n\
         [[zone]]\nname = \"{APEX}\"\nfile = \"zone\"\ndnssec = \"off\"\nallow-transfer = [\"127.0.0.1\"]\n"
    );
    fs::write(here.join("sealdns.toml"), config)?;
    let mut command = Command::new(servers::sealdns().context("no sealdns")?);
    command.args(["run", "--config"]).arg(here.join("sealdns.toml"));
    let mut process = Process::spawn("sealdns", &mut command)?;
    process.wait_for_line(PATIENCE, |line| line.trim() == "ready")?;
    Ok(process)
}

/// The daemon as a secondary that asks over TLS, in a folder of its own.
fn secondary(folder: &Path, name: &str, tls: &str) -> Result<Secondary> {
    let primary = format!("{{ address = \"{OVER_TLS}\", tls = {{ {tls} }} }}");
    let here = folder.join(name);
    fs::create_dir_all(&here)?;
    let settings = Settings {
        dnssec: "off",
        secret: None,
        primaries: &[&primary],
        server: "",
        variables: &[],
    };
    Secondary::start(&here, settings)
}

fn by_name(folder: &Path, name: &str, authority: &str) -> String {
    format!("name = \"{name}\", ca-file = \"{}\"", folder.join(authority).display())
}

/// named's zone, from a primary that is known by its name, by its key, and by both.
pub fn named_s_zone_comes_over_tls() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["named", "openssl"]) {
        return Ok(obstacle);
    }
    apart(|| {
        let temporary = tempfile::tempdir()?;
        let folder = temporary.path();
        let authority = Authority::new(folder, "ca")?;
        authority.sign("ca", "named", false)?;
        let options = format!(
            "tls here {{ cert-file \"{0}/named.pem\"; key-file \"{0}/named.key\"; }};\n\
             options {{ directory \"{0}/named\"; pid-file none; session-keyfile none; recursion no;\n\
             listen-on port 5300 {{ 127.0.0.1; }}; listen-on port 8530 tls here {{ 127.0.0.1; }};\n\
             listen-on-v6 {{ none; }}; allow-transfer {{ any; }}; notify no; }};",
            folder.display()
        );
        let _named = named(folder, &options, "type primary; file \"zone\";")?;
        let pins = format!("pins = [\"{}\"]", authority.pin("named")?);
        let named_as = by_name(folder, NAME, "ca.pem");
        for (name, tls) in [
            ("name", named_as.clone()),
            ("key", pins.clone()),
            ("both", format!("{named_as}, {pins}")),
        ] {
            let daemon = secondary(folder, name, &tls)?;
            daemon.wait_for(7).with_context(|| name)?;
            let [ours, theirs] =
                ["127.0.0.1:53", "127.0.0.1:5300"].map(|server| transferred(server, None, &[]));
            ensure!(ours? == theirs?, "{name}: another zone");
            daemon.stop()?;
        }
        Ok(())
    })
}

/// Who has another name, another key, a certificate of another authority or one that has expired is not believed, and
/// `zone status` says why.
pub fn a_primary_must_be_who_it_is_to_be() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["openssl", "faketime"]) {
        return Ok(obstacle);
    }
    apart(|| {
        let temporary = tempfile::tempdir()?;
        let folder = temporary.path();
        let authority = Authority::new(folder, "ca")?;
        Authority::new(folder, "other")?;
        authority.sign("ca", "right", false)?;
        authority.sign("ca", "expired", true)?;
        let other_pin = authority.pin("other")?;
        let refused = |certificate: &str, tls: &str, why: &str| -> Result<()> {
            let _primary = primary(folder, certificate)?;
            let daemon = secondary(folder, &format!("to-{}", why.replace(' ', "-")), tls)?;
            let status = daemon.wait_for_failure(why)?;
            ensure!(status.summary.serial.is_none(), "{why}: {status:?}");
            daemon.stop()
        };
        refused("right", &by_name(folder, NAME, "other.pem"), "UnknownIssuer")?;
        refused("right", &by_name(folder, "another.test", "ca.pem"), "not valid for name")?;
        refused("right", &format!("pins = [\"{other_pin}\"]"), "none of the pins")?;
        let both = format!("{}, pins = [\"{other_pin}\"]", by_name(folder, NAME, "ca.pem"));
        refused("right", &both, "none of the pins")?;
        refused("expired", &by_name(folder, NAME, "ca.pem"), "expired")?;
        // The same one, known by what is right.
        let _primary = primary(folder, "right")?;
        let daemon = secondary(folder, "right", &by_name(folder, NAME, "ca.pem"))?;
        daemon.wait_for(7)?;
        daemon.stop()
    })
}

/// named takes the zone over TLS; kdig and dig ask and transfer over it; a certificate that a reload brings is shown.
pub fn named_takes_zones_over_tls_and_clients_ask_over_it() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["named", "kdig", "openssl"]) {
        return Ok(obstacle);
    }
    apart(|| {
        let temporary = tempfile::tempdir()?;
        let folder = temporary.path();
        let authority = Authority::new(folder, "ca")?;
        authority.sign("ca", "right", false)?;
        let process = primary(folder, "right")?;
        let options = format!(
            "tls there {{ ca-file \"{0}/ca.pem\"; remote-hostname \"{NAME}\"; }};\n\
             options {{ directory \"{0}/named\"; pid-file none; session-keyfile none; recursion no;\n\
             listen-on port 53 {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; allow-transfer {{ any; }}; }};",
            folder.display()
        );
        let zone = "type secondary; file \"copy\"; primaries { 127.0.0.1 port 8530 tls there; };";
        let named = named(folder, &options, zone)?;
        let ours = transferred(PRIMARY, None, &[])?;
        let has_it = || transferred("127.0.0.1:53", None, &[]).is_ok_and(|theirs| theirs == ours);
        net::wait_until("named has the zone", PATIENCE, has_it).with_context(|| named.log())?;

        let ca = folder.join("ca.pem").display().to_string();
        let ask = |program: &str, words: &[&str]| -> Result<String> {
            let mut command = Command::new(program);
            command.args(["@127.0.0.1", "-p", "8530"]).args(words);
            let output = net::output_within(&mut command, PATIENCE)?;
            Ok([output.stdout, output.stderr]
                .map(|said| String::from_utf8_lossy(&said).into_owned())
                .concat())
        };
        let name = format!("www.{APEX}");
        let known = [format!("+tls-ca={ca}"), format!("+tls-hostname={NAME}")];
        let said = ask("kdig", &[&known[0], &known[1], &name, "A"])?;
        ensure!(said.contains("192.0.2.2") && said.contains("TLS1.3"), "{said}");
        let said = ask("dig", &["+tls", &known[0], &known[1], &name, "A"])?;
        ensure!(said.contains("192.0.2.2") && said.contains("NOERROR"), "{said}");
        let said = ask("dig", &["+tls", APEX, "AXFR"])?;
        ensure!(said.matches("SOA").count() == 2, "{said}");
        let wrong = ask("kdig", &[&known[0], "+tls-hostname=another.test", &name, "A"])?;
        ensure!(!wrong.contains("192.0.2.2"), "{wrong}");

        // Another certificate in the same files.
        let shown = || ask("kdig", &["-d", "+tls", &name, "A"]);
        let pin = |file: &str| authority.pin(file);
        let before = pin("right")?;
        ensure!(shown()?.contains(&before), "{}", shown()?);
        authority.sign("ca", "right", false)?;
        let after = pin("right")?;
        process.signal(Signal::SIGHUP)?;
        net::wait_until("the new certificate", PATIENCE, || {
            shown().is_ok_and(|said| said.contains(&after))
        })
        .with_context(|| process.log())
    })
}
