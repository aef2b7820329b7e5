//! Mistakes in migrations and codecs.

use holocron_macros::vnode;

struct Cart;
struct CartV1;

#[vnode(kind = "cart", codec = Json)]
impl Cart {}

#[vnode(kind = "cart")]
impl Cart {
    #[migrate(from = 1)]
    fn from_v1(old: CartV1) -> Self {
        Self
    }
}

#[vnode(kind = "cart", version = 2)]
impl Cart {
    #[migrate(from = 1)]
    fn from_v1(&self, old: CartV1) -> Self {
        Self
    }
}

#[vnode(kind = "cart", version = 2)]
impl Cart {
    #[migrate(to = 1)]
    fn from_v1(old: CartV1) -> Self {
        Self
    }
}

#[vnode(kind = "cart", version = 3)]
impl Cart {
    #[migrate(from = 1)]
    fn from_v1(old: CartV1) -> Self {
        Self
    }

    #[migrate(from = 1)]
    fn again(old: CartV1) -> Self {
        Self
    }
}

fn main() {}
