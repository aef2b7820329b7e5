//! Mistakes in the attribute's own arguments, and where it stands.

use holocron_macros::vnode;

struct Cart;

#[vnode]
impl Cart {}

#[vnode(kind = "")]
impl Cart {}

#[vnode(kind = "cart", version = 0)]
impl Cart {}

#[vnode(kind = "cart", size = 3)]
impl Cart {}

#[vnode(kind = "cart")]
impl Default for Cart {
    fn default() -> Self {
        Self
    }
}

struct Page<T>(T);

#[vnode(kind = "page")]
impl<T> Page<T> {}

fn main() {}
