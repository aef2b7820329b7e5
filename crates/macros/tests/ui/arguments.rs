//! Mistakes in the arguments and results of handlers.

use holocron_macros::vnode;

struct Cart;

#[vnode(kind = "cart")]
impl Cart {
    #[command]
    fn add(&mut self, (sku, n): (String, u32)) {}
}

#[vnode(kind = "cart")]
impl Cart {
    #[command]
    fn add(&mut self, skus: &mut Vec<String>) {}
}

#[vnode(kind = "cart")]
impl Cart {
    #[command]
    fn add(&mut self, sku: Option<&str>) {}
}

#[vnode(kind = "cart")]
impl Cart {
    #[command]
    fn add(&mut self, each: impl Fn()) {}
}

#[vnode(kind = "cart")]
impl Cart {
    #[query]
    fn name(&self) -> &str {
        "cart"
    }
}

fn main() {}
