// Not all of it is called until the server is assembled.
#[allow(dead_code, unused_imports)]
mod config;

fn main() {
    println!("not built yet");
}
