//! Mistakes in hooks.

use holocron_macros::vnode;

struct Cart;
struct Shop;
struct Files;

#[vnode(kind = "cart")]
impl Cart {
    #[activate]
    async fn open(shop: &Shop) -> Result<Files, Error> {
        Ok(Files)
    }
}

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    #[activate]
    fn open(shop: &Shop) -> Result<Files, Error> {
        Ok(Files)
    }
}

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    #[activate]
    async fn open(&self) -> Result<Files, Error> {
        Ok(Files)
    }
}

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    #[activate]
    async fn open(shop: &Shop) -> Files {
        Files
    }
}

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    #[deactivate]
    async fn close(files: Files) {}
}

fn main() {}
