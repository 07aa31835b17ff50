//! The client side of the native driver: [`Sandbox`] over the spawner's socket.

/// The native driver, as the engine holds it.
#[derive(Debug)]
pub struct NativeSandbox {}
