"""Records what botocore makes of AWS configuration files: python record.py > cases.json (botocore 1.44).

Nothing is asked: sources that need a request are recorded as what they would ask.
"""

import json
import os
import sys
import tempfile

import botocore.exceptions
import botocore.session
from botocore.compat import compat_shell_split
from botocore.credentials import ProcessProvider

KEYS = "aws_access_key_id = {0}ID\naws_secret_access_key = {0}SECRET\n"
A, B = KEYS.format("A"), KEYS.format("B")
ROLE = "role_arn = arn:aws:iam::1:role/r\n"
SSO = "sso_account_id = 123\nsso_role_name = reader\n"
SESSION = "[sso-session corp]\nsso_start_url = https://corp.example/start\nsso_region = eu-west-1\n"
LAB = {"AWS_PROFILE": "lab"}
TOKEN = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "AWS_ROLE_ARN": "arn:env"}

# Name, configuration file, credentials file, environment.
CASES = [
    ("nothing", "", "", {}),
    ("spaces around", "[default]\nregion   =   eu-west-1  \n", "", {}),
    ("no spaces", "[default]\nregion=eu-west-1\n", "", {}),
    ("colon", "[default]\nregion: eu-west-1\n", "", {}),
    ("upper-case keys", "[default]\nREGION = EU-West-1\n", "", {}),
    ("comments", "# c\n; c\n[default]\n# region = no\n  ; c\nregion = r1\n", "", {}),
    ("indented section", "[default]\n  region = r1\n  ca_bundle = /b\n", "", {}),
    ("deeper line continues", "[default]\nregion = r1\n  ca_bundle = /b\n", "", {}),
    ("blank inside nested", "[default]\ns3 =\n  addressing_style = path\n\n  max_queue_size = 1\nregion = r1\n", "", {}),
    ("comment inside nested", "[default]\ns3 =\n  # c\n  addressing_style = virtual\nregion = r1\n", "", {}),
    ("nested without spaces", "[default]\ns3=\n addressing_style=path\n", "", {}),
    ("windows line ends", "[default]\r\nregion = r1\r\n", "", {}),
    ("equals in value", "[default]\nca_bundle = /a=b\n", "", {}),
    ("text behind header", "[default] # mine\nregion = r1\n", "", {}),
    ("no section", "region = r1\n", "", {}),
    ("no value", "[default]\nregion\n", "", {}),
    ("nested nonsense", "[default]\ns3 =\n  what\n", "", {}),
    ("profile", "[profile lab]\nregion = r2\n[default]\nregion = r1\n", "", LAB),
    ("quoted profile", '[profile "lab"]\nregion = r2\n', "", LAB),
    ("single-quoted profile", "[profile 'lab']\nregion = r2\n", "", LAB),
    ("profile with blank", '[profile "my lab"]\nregion = r2\n', "", {"AWS_PROFILE": "my lab"}),
    ("profile without word", "[lab]\nregion = r2\n", "", LAB),
    ("wide profile", "[profile    lab]\nregion = r2\n", "", LAB),
    ("profile default", "[profile default]\nregion = r2\n", "", {}),
    ("both defaults", "[default]\nregion = r1\n[profile default]\nregion = r2\n", "", {}),
    ("profile of credentials", "", f"[lab]\n{A}", LAB),
    ("AWS_DEFAULT_PROFILE", "[profile lab]\nregion = r2\n", "", {"AWS_DEFAULT_PROFILE": "lab"}),
    ("both profiles", "[profile lab]\nregion = r2\n[profile other]\nregion = r3\n", "", {"AWS_PROFILE": "lab", "AWS_DEFAULT_PROFILE": "other"}),
    ("profile nowhere", "[default]\nregion = r1\n", "", {"AWS_PROFILE": "none"}),
    ("credentials file first", f"[default]\n{A}region = r1\n", f"[default]\n{B}region = r2\n", {}),
    ("keys of config", f"[profile lab]\n{A}aws_session_token = T\n", "", LAB),
    ("environment first", f"[default]\n{A}", f"[default]\n{B}", {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "S"}),
    ("environment before profile", f"[profile lab]\n{A}", "", {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "S", **LAB}),
    ("empty environment", "", f"[default]\n{B}", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}),
    ("half an environment", "", f"[default]\n{B}", {"AWS_ACCESS_KEY_ID": "E"}),
    ("secret alone", "", f"[default]\n{B}", {"AWS_SECRET_ACCESS_KEY": "S"}),
    ("token", "", "", {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "S", "AWS_SESSION_TOKEN": "T"}),
    ("old token", "", "", {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "S", "AWS_SECURITY_TOKEN": "T"}),
    ("half a profile", "", "[default]\naws_access_key_id = A\n", {}),
    ("process", "[default]\ncredential_process = /bin/tool --name 'a b' \"c \\\"d\\\"\" e\\ f $HOME ; x # y\n", "", {}),
    ("process after keys", f"[default]\n{A}credential_process = tool\n", "", {}),
    ("process before config keys", f"[default]\ncredential_process = tool\n{A}", "", {}),
    ("process after credentials", "[default]\ncredential_process = tool\n", f"[default]\n{B}", {}),
    ("process in credentials", "", "[default]\ncredential_process = tool -x\n", {}),
    ("role", f"[profile lab]\n{ROLE}source_profile = base\nrole_session_name = me\nexternal_id = x\nduration_seconds = 900\n[profile base]\n{A}", "", LAB),
    ("role of credentials", f"[profile lab]\n{ROLE}source_profile = base\n", f"[base]\n{B}", LAB),
    ("role of default", f"[default]\n{A}[profile lab]\n{ROLE}source_profile = default\n", "", LAB),
    ("role of itself", f"[profile lab]\n{ROLE}source_profile = lab\n{A}", "", LAB),
    ("role of role", f"[profile lab]\n{ROLE}source_profile = mid\n[profile mid]\nrole_arn = arn:mid\nsource_profile = base\n[profile base]\n{A}", "", LAB),
    ("role in a circle", f"[profile lab]\n{ROLE}source_profile = mid\n[profile mid]\n{ROLE}source_profile = lab\n", "", LAB),
    ("role of nobody", f"[profile lab]\n{ROLE}", "", LAB),
    ("role of nowhere", f"[profile lab]\n{ROLE}source_profile = none\n", "", LAB),
    ("role of empty", f"[profile lab]\n{ROLE}source_profile = base\n[profile base]\nregion = r\n", "", LAB),
    ("role of both", f"[profile lab]\n{ROLE}source_profile = base\ncredential_source = Environment\n[profile base]\n{A}", "", LAB),
    ("role of environment", f"[profile lab]\n{ROLE}credential_source = Environment\n", "", {**LAB, "AWS_ACCESS_KEY_ID": ""}),
    ("role of unknown source", f"[profile lab]\n{ROLE}credential_source = Moon\n", "", LAB),
    ("role of process", f"[profile lab]\n{ROLE}source_profile = base\n[profile base]\ncredential_process = tool\n", "", LAB),
    ("role of SSO", f"[profile lab]\n{ROLE}source_profile = base\n[profile base]\n{SSO}sso_session = corp\n{SESSION}", "", LAB),
    ("role of identity", f"[profile lab]\n{ROLE}source_profile = base\n[profile base]\nrole_arn = arn:b\nweb_identity_token_file = /t\n", "", LAB),
    ("role before identity", f"[profile lab]\n{ROLE}source_profile = base\n[profile base]\n{A}", "", {**LAB, **TOKEN}),
    ("identity of environment", "", "", {**TOKEN, "AWS_ROLE_SESSION_NAME": "me"}),
    ("identity before keys", "", f"[default]\n{B}", TOKEN),
    ("identity of profile", f"[profile lab]\n{ROLE}web_identity_token_file = /t\nrole_session_name = me\n", "", LAB),
    ("identity without role", "", "", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}),
    ("identity of both", "[default]\nrole_arn = arn:p\nweb_identity_token_file = /p\n", "", TOKEN),
    ("SSO session", f"[profile lab]\n{SSO}sso_session = corp\n{SESSION}", "", LAB),
    ("SSO before keys", f"[profile lab]\n{SSO}sso_session = corp\n{SESSION}", f"[lab]\n{B}", LAB),
    ("SSO of old", f"[profile lab]\n{SSO}sso_start_url = https://old.example/start#/\nsso_region = us-east-2\n", "", LAB),
    ("SSO without region", f"[profile lab]\n{SSO}sso_start_url = https://old.example\n", "", LAB),
    ("SSO without session", f"[profile lab]\n{SSO}sso_session = none\n", "", LAB),
    ("SSO contradiction", f"[profile lab]\n{SSO}sso_session = corp\nsso_region = us-east-1\n{SESSION}", "", LAB),
    ("SSO without role", f"[profile lab]\nsso_session = corp\n{SESSION}", "", LAB),
    ("endpoint of profile", "[default]\nendpoint_url = http://p:1\n", "", {}),
    ("endpoint of services", "[default]\nservices = mine\nendpoint_url = http://p:1\n[services mine]\ns3 =\n  endpoint_url = http://s3:1\n", "", {}),
    ("endpoint of other service", "[default]\nservices = mine\nendpoint_url = http://p:1\n[services mine]\ndynamodb =\n  endpoint_url = http://d:1\n", "", {}),
    ("endpoint below s3 of profile", "[default]\ns3 =\n  endpoint_url = http://no:1\nendpoint_url = http://p:1\n", "", {}),
    ("endpoint of environment", "[default]\nendpoint_url = http://p:1\n", "", {"AWS_ENDPOINT_URL": "http://e:1"}),
    ("endpoint of environment for s3", "", "", {"AWS_ENDPOINT_URL": "http://e:1", "AWS_ENDPOINT_URL_S3": "http://e3:1"}),
    ("general environment before services", "[default]\nservices = m\n[services m]\ns3 =\n  endpoint_url = http://s3:1\n", "", {"AWS_ENDPOINT_URL": "http://e:1"}),
    ("endpoints ignored", "[default]\nendpoint_url = http://p:1\n", "", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL": "http://e:1"}),
    ("endpoints ignored by profile", "[default]\nignore_configured_endpoint_urls = true\nendpoint_url = http://p:1\n", "", {"AWS_ENDPOINT_URL": "http://e:1"}),
    ("endpoints not ignored after all", "[default]\nignore_configured_endpoint_urls = true\nendpoint_url = http://p:1\n", "", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"}),
    ("region of environment", "[default]\nregion = r1\n", "", {"AWS_DEFAULT_REGION": "r3"}),
    ("CA bundle", "[default]\nca_bundle = /etc/ca.pem\n", "", {}),
]


def source(credentials):
    """What credentials come from, in words of our own."""
    method = credentials.method
    if method in ("env", "shared-credentials-file", "config-file"):
        return {"keys": [credentials.access_key, credentials.secret_key, credentials.token]}
    if method == "custom-process":
        return {"process": json.loads(credentials.access_key)}
    fetcher = credentials._refresh_using.__self__
    if method == "sso":
        keys = ("_sso_region", "_start_url", "_account_id", "_role_name", "_sso_session_name")
        return {"sso": [getattr(fetcher, key) for key in keys]}
    asked = fetcher._assume_kwargs
    session = asked["RoleSessionName"]
    session = None if session.startswith("botocore-session") else session
    if method == "assume-role":
        return {
            "role": [asked["RoleArn"], session, asked.get("ExternalId"), asked.get("DurationSeconds")],
            "base": source(fetcher._source_credentials),
        }
    return {"identity": [asked["RoleArn"], session, fetcher._web_identity_token_loader._web_identity_token_path]}


def run(_provider, command):
    """Stands in for the command: its words come back as the key."""
    return {"access_key": json.dumps(compat_shell_split(command)), "secret_key": "x"}


ProcessProvider._retrieve_credentials_using = run


def look(case):
    name, config, credentials, env = case
    with tempfile.TemporaryDirectory() as folder:
        for file, text in (("config", config), ("credentials", credentials)):
            with open(os.path.join(folder, file), "w", newline="") as out:
                out.write(text)
        os.environ.clear()
        os.environ.update(env)
        os.environ["HOME"] = folder
        os.environ["AWS_CONFIG_FILE"] = os.path.join(folder, "config")
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.path.join(folder, "credentials")
        os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
        session = botocore.session.Session()
        found = {"name": name, "config": config, "credentials": credentials, "env": env}
        try:
            scoped = session.get_scoped_config()
            found["region"] = session.get_config_variable("region")
            found["ca_bundle"] = session.get_config_variable("ca_bundle")
            below = scoped.get("s3")
            found["addressing_style"] = below.get("addressing_style") if isinstance(below, dict) else None
        except (botocore.exceptions.ConfigParseError, botocore.exceptions.ProfileNotFound):
            found["files"] = "wrong"
            return found
        try:
            credentials = session.get_credentials()
            found["source"] = source(credentials) if credentials else None
        except botocore.exceptions.BotoCoreError:
            found["source"] = "wrong"
        session = botocore.session.Session()
        session.set_credentials("a", "b")
        region = found["region"] if found["region"] and "\n" not in found["region"] else "us-east-1"
        try:
            url = session.create_client("s3", region_name=region).meta.endpoint_url
            found["endpoint"] = None if "amazonaws" in url else url
        except botocore.exceptions.InvalidConfigError:
            found["endpoint"] = None
        return found


json.dump([look(case) for case in CASES], sys.stdout, indent=1)
print()
