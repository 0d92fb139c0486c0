//! Compiles the program of the image `wadah/hello`: static, for the same target.

use std::{
    env, io,
    path::PathBuf,
    process::{Command, ExitCode},
};

const SOURCE: &str = "hello/hello.rs";

/// Small, and in need of nothing: its image has no other file.
const FLAGS: &[&str] = &[
    "--edition=2024",
    "--crate-name=hello",
    "-Cpanic=abort",
    "-Copt-level=s",
    "-Clto=fat",
    "-Cstrip=symbols",
    "-Ctarget-feature=+crt-static",
    "-Crelocation-model=static",
];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={SOURCE}");
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error=cannot compile {SOURCE}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compile() -> io::Result<()> {
    let variable = |name: &str| env::var_os(name).ok_or_else(|| io::Error::other(name.to_owned()));
    let output = PathBuf::from(variable("OUT_DIR")?).join("hello");
    let mut rustc = Command::new(variable("RUSTC")?);
    rustc.args(FLAGS).arg("--target").arg(variable("TARGET")?);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    let status = rustc.arg("-o").arg(output).arg(SOURCE).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}
