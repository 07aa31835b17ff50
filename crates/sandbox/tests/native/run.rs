//! What a function sees and gets inside a native sandbox.

use picasso_sandbox::EndedBy;

use crate::kit::{Native, root};

#[tokio::test]
async fn a_function_runs_and_its_output_and_exit_come_back() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let ran = native.guest(&["hello"]).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("hello\n", ""));
    assert_eq!(ran.ended.by, EndedBy::Exit(0));
    assert!(!ran.ended.out_of_memory);
    assert_eq!(native.guest(&["exit", "7"]).await.ended.by, EndedBy::Exit(7));
}
