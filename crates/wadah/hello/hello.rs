//! The program of the image `wadah/hello`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

const GREETING: &str = "
Hello from Wadah!

That this line reached you means that everything works:
 1. the client asked the daemon for a container of the image \"wadah/hello\",
 2. the daemon made its root filesystem, its network and its limits,
 3. a shim started this program in namespaces of its own, and carried
    its output back to your terminal.

More of the same:
  wadah load -i IMAGE.tar        bring in an image
  wadah run -it IMAGE sh         a shell in a container of it
  wadah ps -a                    what there is
  wadah --help                   what else there is
";

fn main() -> ExitCode {
    let written = io::stdout().write_all(GREETING.as_bytes());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
