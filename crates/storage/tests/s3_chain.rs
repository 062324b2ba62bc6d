//! Credential sources that send requests, tested against local stand-ins for the services.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dlio_storage::Error;
use dlio_storage::s3::Temporary;
use dlio_storage::s3::chain::{self, ChainOptions, Profiles, Provider, Tried};

/// A request that a stand-in received.
#[derive(Debug, Clone, Default)]
struct Asked {
    /// Method and path.
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// A service whose responses are computed by a function.
struct StandIn {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl StandIn {
    fn new(answer: impl Fn(&Asked) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let request = read(&socket);
                let (status, body) = answer(&request);
                log.lock().unwrap().push(request);
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                let _ = socket.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(socket: &TcpStream) -> Asked {
    let mut lines = BufReader::new(socket);
    let mut asked = Asked::default();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 2 {
        match line.trim().split_once(": ") {
            Some((name, value)) => drop(asked.headers.insert(name.to_lowercase(), value.to_owned())),
            None => line.trim().trim_end_matches(" HTTP/1.1").clone_into(&mut asked.line),
        }
        line.clear();
    }
    let length = asked.headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    asked.body = String::from_utf8(body).unwrap();
    asked
}

/// A home folder and an environment.
struct Place {
    home: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Place {
    /// Adds a configuration file and disables the instance metadata.
    fn new(config: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join(".aws/sso/cache")).unwrap();
        fs::write(home.path().join(".aws/config"), config).unwrap();
        let variables = BTreeMap::from([("HOME".to_owned(), home.path().to_str().unwrap().to_owned())]);
        Self { home, variables }.with("AWS_EC2_METADATA_DISABLED", "true")
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    fn find(&self) -> Result<(Temporary, Provider), Error> {
        let profiles = Profiles::read(&self.variables).unwrap();
        let before = vec![Tried { source: "the workload".to_owned(), why: "not given".to_owned() }];
        let options = ChainOptions {
            variables: &self.variables,
            profiles: &profiles,
            ca_bundle: None,
            before,
            no_metadata: None,
        };
        run(chain::find(options, &|_| {}))
    }

    fn fails(&self) -> String {
        self.find().map(|(_, provider)| provider.name().to_owned()).unwrap_err().to_string()
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn expect(found: &Temporary, id: &str, token: Option<&str>) {
    assert_eq!(found.credentials.access_key_id, id);
    assert_eq!(found.credentials.secret_access_key.expose(), "SECRET");
    assert_eq!(
        found.credentials.session_token.as_ref().map(|token| token.expose().to_owned()),
        token.map(str::to_owned)
    );
}

const END: &str = "2096-11-29T17:00:00Z";
const END_SECONDS: u64 = 4_005_046_800;

fn sts(action: &str) -> String {
    format!(
        "<{action}Response><{action}Result><Credentials><AccessKeyId>STS</AccessKeyId><SecretAccessKey>SECRET\
         </SecretAccessKey><SessionToken>a+b</SessionToken><Expiration>{END}</Expiration></Credentials></{action}Result></{action}Response>"
    )
}

#[test]
fn a_role_is_taken_with_the_keys_of_its_source_profile() {
    let service = StandIn::new(|_| (200, sts("AssumeRole")));
    let place = Place::new(
        "[profile lab]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\nrole_session_name = me\nexternal_id = x/y\n\
         duration_seconds = 900\nregion = eu-west-1\n[profile base]\naws_access_key_id = BASE\naws_secret_access_key = b\n",
    )
    .with("AWS_PROFILE", "lab")
    .with("AWS_ENDPOINT_URL_STS", &service.url);
    let (found, provider) = place.find().unwrap();
    expect(&found, "STS", Some("a+b"));
    assert_eq!(found.ends, Some(Duration::from_secs(END_SECONDS)));
    assert_eq!(provider.name(), "role_arn of the AWS profile lab");
    let asked = &service.asked()[0];
    assert_eq!(asked.line, "POST /");
    assert_eq!(
        asked.body,
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=me&ExternalId=x%2Fy&DurationSeconds=900"
    );
    let signed = &asked.headers["authorization"];
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=BASE/") && signed.contains("/eu-west-1/sts/"), "{signed}");
    // The same source is asked again for new credentials, also on another rank.
    let sent: Provider = serde_json::from_str(&serde_json::to_string(&provider).unwrap()).unwrap();
    expect(&run(sent.fetch()).unwrap(), "STS", Some("a+b"));
    assert_eq!(service.asked().len(), 2);
}

#[test]
fn a_role_that_is_refused_ends_the_search_with_the_services_reason() {
    let refusal =
        "<ErrorResponse><Error><Code>AccessDenied</Code><Message>User may not</Message></Error></ErrorResponse>";
    let service = StandIn::new(move |_| (403, refusal.to_owned()));
    let place = Place::new("[default]\nrole_arn = arn:r\ncredential_source = EcsContainer\n")
        .with("AWS_ENDPOINT_URL_STS", &service.url)
        .with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/nothing", container().url));
    let said = place.fails();
    for part in
        ["role_arn of the AWS profile default: ", "HTTP 403 AccessDenied: User may not", "the workload: not given"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_role_is_taken_with_the_token_of_an_identity_provider() {
    let service = StandIn::new(|_| (200, sts("AssumeRoleWithWebIdentity")));
    let place = Place::new("");
    fs::write(place.path("token"), "ey+J\n").unwrap();
    let file = place.path("token");
    let place = place
        .with("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap())
        .with("AWS_ROLE_ARN", "arn:r")
        .with("AWS_ROLE_SESSION_NAME", "pod")
        .with("AWS_ENDPOINT_URL", &service.url);
    expect(&place.find().unwrap().0, "STS", Some("a+b"));
    let asked = &service.asked()[0];
    assert!(!asked.headers.contains_key("authorization"));
    assert!(asked.body.ends_with("&RoleArn=arn%3Ar&RoleSessionName=pod&WebIdentityToken=ey%2BJ"), "{}", asked.body);
    fs::remove_file(file).unwrap();
    assert!(place.fails().contains("reading the web identity token /"));
}

/// An environment whose role is assumed at a host that only a proxy can resolve.
fn behind_a_proxy(proxy: &str) -> Place {
    let place = Place::new("");
    fs::write(place.path("token"), "T").unwrap();
    let file = place.path("token");
    place
        .with("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap())
        .with("AWS_ROLE_ARN", "arn:r")
        .with("AWS_ENDPOINT_URL_STS", "http://sts.invalid:9201/base?x=1")
        .with("HTTP_PROXY", proxy)
}

#[test]
fn a_service_behind_a_proxy_is_asked_through_it() {
    let proxy = StandIn::new(|_| (200, sts("AssumeRoleWithWebIdentity")));
    let user = proxy.url.replace("//", "//user:pass@");
    let place = behind_a_proxy(&user);
    let (found, provider) = place.find().unwrap();
    expect(&found, "STS", Some("a+b"));
    let sent = serde_json::to_string(&provider).unwrap();
    let elsewhere: Provider = serde_json::from_str(&sent).unwrap();
    expect(&run(elsewhere.fetch()).unwrap(), "STS", Some("a+b"));
    for asked in proxy.asked() {
        assert_eq!(asked.line, "POST http://sts.invalid:9201/base?x=1");
        assert_eq!(asked.headers["host"], "sts.invalid:9201");
        assert_eq!(asked.headers["proxy-authorization"], "Basic dXNlcjpwYXNz");
    }
    assert_eq!(proxy.asked().len(), 2, "every rank knows the proxy");

    let direct = StandIn::new(|_| (200, sts("AssumeRoleWithWebIdentity")));
    let place = place.with("HTTP_PROXY", "http://127.0.0.1:1").with("AWS_ENDPOINT_URL_STS", &direct.url);
    let place = place.with("no_proxy", "127.0.0.0/8");
    expect(&place.find().unwrap().0, "STS", Some("a+b"));
    assert_eq!(direct.asked()[0].line, "POST /");
}

#[test]
fn what_is_on_this_machine_is_asked_without_a_proxy() {
    let service = container();
    let place = Place::new("").with("ALL_PROXY", "http://127.0.0.1:1");
    let url = format!("{}/creds", service.url);
    let place =
        place.with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url).with("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pass");
    expect(&place.find().unwrap().0, "CONTAINER", Some("C"));
}

#[test]
fn a_proxy_that_does_not_help_is_named() {
    let asking = StandIn::new(|_| (407, String::new()));
    let failure = behind_a_proxy(&asking.url).fails();
    assert!(failure.contains(&format!("through the proxy {} (HTTP_PROXY): ", asking.url)), "{failure}");
    assert!(failure.contains("wants a user and a password"), "{failure}");
    let failure = behind_a_proxy("socks5://127.0.0.1:1").fails();
    assert!(failure.contains("HTTP_PROXY: the proxy has the scheme socks5"), "{failure}");
}

const CORP: &str = "[profile lab]\nsso_session = corp\nsso_account_id = 123\nsso_role_name = reader\n[sso-session corp]\n\
                    sso_region = eu-west-1\nsso_start_url = https://corp.example/start\n";

/// The cache file that `aws sso login` writes for the session `corp`: its name is the SHA-1 of `corp`.
fn login(place: &Place, ends: &str, more: &str) -> std::path::PathBuf {
    let path = place.path(".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json");
    fs::write(&path, format!("{{\"accessToken\": \"T1\", \"expiresAt\": \"{ends}\"{more}}}")).unwrap();
    path
}

fn portal() -> StandIn {
    StandIn::new(|asked| match asked.headers.get("x-amz-sso_bearer_token").map(String::as_str) {
        Some("T1" | "T2") => {
            let end = END_SECONDS * 1000;
            let keys = "\"accessKeyId\": \"SSO\", \"secretAccessKey\": \"SECRET\", \"sessionToken\": \"S\"";
            (200, format!("{{\"roleCredentials\": {{{keys}, \"expiration\": {end}}}}}"))
        }
        _ if asked.line == "POST /token" => {
            (200, "{\"accessToken\": \"T2\", \"expiresIn\": 3600, \"refreshToken\": \"R2\"}".to_owned())
        }
        _ => (401, "{\"message\": \"Session token not found or invalid\"}".to_owned()),
    })
}

#[test]
fn a_token_of_sso_is_exchanged_for_a_roles_credentials() {
    let service = portal();
    let place = Place::new(CORP).with("AWS_PROFILE", "lab").with("AWS_ENDPOINT_URL_SSO", &service.url);
    login(&place, END, "");
    let (found, _) = place.find().unwrap();
    expect(&found, "SSO", Some("S"));
    assert_eq!(found.ends, Some(Duration::from_secs(END_SECONDS)));
    assert_eq!(service.asked()[0].line, "GET /federation/credentials?role_name=reader&account_id=123");
}

#[test]
fn an_sso_session_that_is_over_says_how_to_log_in_again() {
    let service = portal();
    let place = Place::new(CORP).with("AWS_PROFILE", "lab").with("AWS_ENDPOINT_URL", &service.url);
    assert!(place.fails().contains("there is no token in /"));
    let path = login(&place, "2020-01-01T00:00:00UTC", "");
    let said = place.fails();
    for part in ["SSO of the AWS profile lab: ", "ended at 2020-01-01T00:00:00Z", "run `aws sso login --profile lab`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(service.asked().is_empty());
    fs::write(path, format!("{{\"accessToken\": \"T9\", \"expiresAt\": \"{END}\"}}")).unwrap();
    assert!(place.fails().contains("refuses its token; run `aws sso login --profile lab`"));
}

#[test]
fn a_token_of_sso_is_renewed_and_kept_for_other_programs() {
    let service = portal();
    let place = Place::new(CORP).with("AWS_PROFILE", "lab").with("AWS_ENDPOINT_URL", &service.url);
    let more = format!(
        ", \"clientId\": \"c\", \"clientSecret\": \"s\", \"refreshToken\": \"R1\", \"registrationExpiresAt\": \"{END}\", \"region\": \"eu\""
    );
    let path = login(&place, "2020-01-01T00:00:00Z", &more);
    expect(&place.find().unwrap().0, "SSO", Some("S"));
    let asked = service.asked();
    assert!(asked[0].line == "POST /token" && asked[0].body.contains("\"refreshToken\":\"R1\""), "{:?}", asked[0]);
    assert_eq!(asked[1].headers["x-amz-sso_bearer_token"], "T2");
    let kept: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(
        (&kept["accessToken"], &kept["refreshToken"], &kept["region"]),
        (&"T2".into(), &"R2".into(), &"eu".into())
    );
}

/// Answers all paths except `/nothing`, and refuses requests without a required token.
fn container() -> StandIn {
    let keys = |id: &str| {
        format!(
            "{{\"AccessKeyId\": \"{id}\", \"SecretAccessKey\": \"SECRET\", \"Token\": \"C\", \"Expiration\": \"{END}\"}}"
        )
    };
    StandIn::new(move |asked| match asked.headers.get("authorization") {
        None if asked.line == "GET /secret" => (401, "no token".to_owned()),
        _ => (200, keys("CONTAINER")),
    })
}

#[test]
fn a_container_asks_its_agent_with_the_token_of_the_moment() {
    let service = container();
    let place = Place::new("").with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/secret?x=1", service.url));
    fs::write(place.path("token"), "Basic abc").unwrap();
    let file = place.path("token");
    let place = place
        .with("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not this one")
        .with("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap());
    let (found, provider) = place.find().unwrap();
    expect(&found, "CONTAINER", Some("C"));
    fs::write(&file, "Basic def").unwrap();
    run(provider.fetch()).unwrap();
    let tokens: Vec<String> = service.asked().iter().map(|asked| asked.headers["authorization"].clone()).collect();
    assert_eq!(tokens, ["Basic abc", "Basic def"]);
    assert_eq!(service.asked()[0].line, "GET /secret?x=1");
    fs::write(&file, "two\nlines").unwrap();
    assert!(place.fails().contains("the authorization token has a line break"));
}

#[test]
fn a_containers_token_goes_to_no_other_machine_in_the_clear() {
    for (url, part) in [
        ("http://example.com/x", "plain HTTP to \"example.com\" is not allowed"),
        ("http://10.0.0.1/x", "plain HTTP to \"10.0.0.1\" is not allowed"),
        ("ftp://127.0.0.1/x", "expected http://host or https://host"),
    ] {
        let said = Place::new("").with("AWS_CONTAINER_CREDENTIALS_FULL_URI", url).fails();
        assert!(
            said.contains("container credentials: AWS_CONTAINER_CREDENTIALS_FULL_URI: ") && said.contains(part),
            "{said}"
        );
    }
}

/// A metadata service; it refuses version 2 if `old` is set, and requires its token otherwise.
fn instance(old: bool) -> StandIn {
    StandIn::new(move |asked| {
        let token = asked.headers.get("x-aws-ec2-metadata-token").map(String::as_str);
        let (method, path) = asked.line.split_once(' ').unwrap();
        match path.strip_prefix("/latest/").unwrap() {
            "api/token" if old => (404, String::new()),
            "api/token" if method == "PUT" && asked.headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds") => {
                (200, "IMDS".to_owned())
            }
            _ if !old && token != Some("IMDS") => (401, String::new()),
            "meta-data/iam/security-credentials/" => (200, "role-1".to_owned()),
            "meta-data/iam/security-credentials/role-1" => {
                let keys = "\"AccessKeyId\": \"EC2\", \"SecretAccessKey\": \"SECRET\", \"Token\": \"E\"";
                (200, format!("{{\"Code\": \"Success\", {keys}, \"Expiration\": \"{END}\"}}"))
            }
            _ => (404, String::new()),
        }
    })
}

#[test]
fn an_instance_has_the_credentials_of_its_role() {
    for old in [false, true] {
        let service = instance(old);
        let place = Place::new("")
            .with("AWS_EC2_METADATA_DISABLED", "false")
            .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &service.url);
        let (found, provider) = place.find().unwrap();
        expect(&found, "EC2", Some("E"));
        assert_eq!(provider.name(), "instance metadata");
        let strict = place.with("AWS_EC2_METADATA_V1_DISABLED", "true");
        assert_eq!(strict.find().is_err(), old);
    }
}

#[test]
fn without_any_source_all_that_were_tried_are_named_in_their_order() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::new("[default]\nregion = eu-west-1\n")
        .with("AWS_ACCESS_KEY_ID", "")
        .with("AWS_EC2_METADATA_DISABLED", "false")
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{closed}"));
    let said = place.fails();
    let mut rest = said.as_str();
    for part in [
        "no source has any; tried, in this order:",
        "the workload: not given",
        "AWS_ACCESS_KEY_ID: empty",
        "AWS_WEB_IDENTITY_TOKEN_FILE: not set",
        "AWS profile default: it has no keys",
        "container credentials: neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor",
        &format!("instance metadata: no connection to {closed}"),
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part}: {said}"));
        rest = &rest[at..];
    }
    let disabled = Place::new("").fails();
    assert!(disabled.contains("instance metadata: not asked: AWS_EC2_METADATA_DISABLED is true"), "{disabled}");
}

#[test]
fn a_command_is_run_where_the_profile_names_one() {
    let place = Place::new("");
    let tool = place.path("a tool");
    fs::write(&tool, "#!/bin/sh\necho \"{\\\"Version\\\": 1, \\\"AccessKeyId\\\": \\\"$1\\\", \\\"SecretAccessKey\\\": \\\"SECRET\\\"}\"\n").unwrap();
    std::process::Command::new("chmod").arg("+x").arg(&tool).status().unwrap();
    write_config(&place, &format!("[default]\ncredential_process = '{}' \"A B\" # c\n", tool.display()));
    let (found, _) = place.find().unwrap();
    expect(&found, "A B", None);
    assert_eq!(found.ends, None);
    write_config(&place, "[default]\ncredential_process = false\n");
    let said = place.fails();
    assert!(said.contains("credential_process of the AWS profile default: the command \"false\" failed"), "{said}");
}

fn write_config(place: &Place, text: &str) {
    let path: &Path = &place.path(".aws/config");
    fs::write(path, text).unwrap();
}
