//! The API is what its description says, in the eyes of another program: schemathesis calls everything that is described,
//! with what is allowed and with what is not. A fixed seed and a bounded number of calls, so that it says the same each
//! time.

use std::process::Command;

use crate::api_kit::{ROOT, credential, inhabited};

/// What every answer is held to.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance,ignored_auth";

#[test]
fn schemathesis_finds_nothing_that_the_description_does_not_say() {
    let house = inhabited();
    let session = house.sign_in("root");
    let (name, value) = credential(&session);
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::var_os("OTATREE_SCHEMATHESIS").unwrap_or_else(|| "schemathesis".into());
    let output = Command::new(&program)
        .args(["run", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--seed", "1", "--max-examples", "8", "--no-shrink"])
        .args(["--generation-with-security-parameters", "false"])
        .args(["--generation-deterministic"])
        .args(["--continue-on-failure", "--no-color", "--suppress-health-check", "all"])
        // It would sign itself out.
        .args(["--exclude-operation-id", "delete_session"])
        .args(["--header", &format!("{name}: {value}")])
        .arg(format!("http://{}{ROOT}/openapi.json", house.http))
        .current_dir(folder.path())
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{program:?} does not start ({error}): run the tests with tests/run, which installs it, or set OTATREE_SCHEMATHESIS"
            )
        });
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let still = house.call_as(&session, "GET", "/session", "");
    assert_eq!(still.status, 200, "it tested as a stranger");
}
