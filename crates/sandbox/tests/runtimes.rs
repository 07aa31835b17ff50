//! Ordinary programs under the system call filter: language runtimes with threads, child
//! processes, sockets and temporary files must not notice it.

#![expect(unsafe_code, reason = "a filter is loaded between fork and exec")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use picasso_testkit::process::require;

/// Runs a program with the filter of every sandbox; its stdout.
fn filtered(program: &str, arguments: &[&str]) -> String {
    let filter = picasso_sandbox::seccomp::filter().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let load = move || {
        let program = libc::sock_fprog {
            len: u16::try_from(filter.len() / 8).unwrap_or(0),
            filter: filter.as_ptr().cast_mut().cast(),
        };
        // SAFETY: prctl takes numbers here, and a program that outlives the call.
        let loaded = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        };
        if loaded { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes two system calls and takes no lock.
    unsafe { command.pre_exec(load) };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn is_there(program: &str) -> bool {
    ["/usr/bin", "/usr/local/bin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

/// Python comes with every machine that runs the tests.
fn installed(program: &str) -> bool {
    require(program, (!is_there(program)).then_some("it is not installed"))
}

/// What is too large to demand for one test.
fn optional(program: &str) -> bool {
    let there = is_there(program);
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

#[test]
fn a_shell_pipes() {
    assert_eq!(filtered("sh", &["-c", "echo a b | tr ' ' '\\n' | sort -r | head -1"]), "b\n");
}

#[test]
fn python_runs_threads_processes_sockets_and_files() {
    const PROGRAM: &str = r"
import asyncio, concurrent.futures, multiprocessing, socket, subprocess, tempfile, threading, uuid
def double(number): return number * 2
async def served():
    async def answer(reader, writer):
        writer.write(await reader.readline()); await writer.drain(); writer.close()
    server = await asyncio.start_server(answer, '127.0.0.1', 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b'served\n')
    return (await reader.readline()).decode().strip()
if __name__ == '__main__':
    with concurrent.futures.ThreadPoolExecutor(4) as pool: assert list(pool.map(double, [1, 2])) == [2, 4]
    with multiprocessing.Pool(2) as pool: assert pool.map(double, [3, 4]) == [6, 8]
    assert subprocess.run(['echo', 'x'], capture_output=True).stdout == b'x\n'
    with tempfile.TemporaryFile() as file: file.write(b'x'); file.flush()
    assert socket.getaddrinfo('127.0.0.1', 80) and uuid.uuid4()
    print(asyncio.run(served()))
";
    if installed("python3") {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("program.py");
        std::fs::write(&file, PROGRAM).unwrap();
        assert_eq!(filtered("python3", &[file.to_str().unwrap()]), "served\n");
    }
}

#[test]
fn node_runs_workers_processes_and_servers() {
    const PROGRAM: &str = r"
const { Worker } = require('worker_threads'), http = require('http'), fs = require('fs');
const child = require('child_process').execFileSync('echo', ['x']).toString().trim();
const server = http.createServer((request, answer) => answer.end('served')).listen(0, '127.0.0.1', async () => {
  const body = await (await fetch('http://127.0.0.1:' + server.address().port)).text();
  new Worker('require(`worker_threads`).parentPort.postMessage(6 * 7)', { eval: true }).on('message', async (n) => {
    const own = await fs.promises.readFile('/proc/self/status');
    console.log(child, body, n, own.length > 0); process.exit(0);
  });
});
";
    if optional("node") {
        assert_eq!(filtered("node", &["-e", PROGRAM]), "x served 42 true\n");
    }
}

#[test]
fn java_starts_threads_and_collects_garbage() {
    const PROGRAM: &str = r"
public class Program {
    public static void main(String[] words) throws Exception {
        var sum = java.util.stream.IntStream.range(0, 1_000_000).parallel().mapToObj(n -> new int[] {n})
            .mapToLong(n -> n[0]).sum();
        var thread = new Thread(() -> System.gc());
        thread.start();
        thread.join();
        System.out.println(sum);
    }
}";
    if optional("java") {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("Program.java");
        std::fs::write(&file, PROGRAM).unwrap();
        assert_eq!(filtered("java", &["-Xmx256m", file.to_str().unwrap()]), "499999500000\n");
    }
}

#[test]
fn the_filter_is_there() {
    assert!(filtered("grep", &["^Seccomp:", "/proc/self/status"]).contains('2'));
}
