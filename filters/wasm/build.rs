//! Tells the linker to write the module's numbers in as few bytes as they need: by default it leaves room for five in
//! every call, a twelfth of the code section. It refuses to beside debug information, which goes first; a build that
//! asks for that (`cargo xtask size`) keeps both as they are.
//!
//! The stack is an eighth smaller than the usual MiB, because what is behind it are first the texts and tables that
//! code names: below the MiB their addresses take a byte less, 4 KB in all.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        if std::env::var("DEBUG").is_ok_and(|debug| debug == "false") {
            println!("cargo::rustc-link-arg-cdylib=--strip-debug");
            println!("cargo::rustc-link-arg-cdylib=--compress-relocations");
        }
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={}", 896 << 10);
    }
}
