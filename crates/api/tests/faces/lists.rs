//! Lists of apps, routes and images: pages, order, filters.

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::{PROJECT, Server};

async fn world() -> Server {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        let body = json!({"app": {"name": name, "description": format!("the {name}")}});
        assert_eq!(server.api.post(&format!("/v1/{PROJECT}/apps"), "member", &body).await.status, 200);
    }
    server.app().await;
    for (path, timeout, public) in [("/x", 5, true), ("/y", 9, false), ("/z", 9, true)] {
        server.route(path, "cat", json!({"timeout": timeout, "is_public": public})).await;
    }
    server
}

fn shown(reply: &Reply, list: &str, field: &str) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let entries = reply.json()[list].as_array().unwrap().clone();
    entries.iter().map(|entry| entry[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn following_next_shows_every_entry_of_every_list_once() {
    let server = world().await;
    for (list, url, field) in [
        ("apps", format!("/v1/{PROJECT}/apps"), "short_name"),
        ("routes", format!("/v1/{PROJECT}/apps/hello/routes"), "path"),
        ("images", format!("/v1/{PROJECT}/images"), "name"),
    ] {
        let whole = server.api.get(&url, "reader").await;
        assert!(whole.json().get(format!("{list}_links")).is_none(), "an old client sees no pages");
        let whole = shown(&whole, list, field);
        let (mut seen, mut next) = (Vec::new(), Some(format!("{url}?limit=1")));
        while let Some(url) = next {
            let page = server.api.get(&url, "reader").await;
            seen.extend(shown(&page, list, field));
            assert!(seen.len() <= whole.len(), "{seen:?}");
            let base = format!("http://{}", server.api_address);
            let link = page.json()[format!("{list}_links")][0]["href"].as_str().map(str::to_owned);
            next = link.map(|href| href.strip_prefix(&base).unwrap().to_owned());
        }
        assert_eq!(seen, whole, "{list}");
        assert!(whole.len() >= 3, "{list}");
    }
}

#[tokio::test]
async fn a_projects_image_and_a_shared_one_of_one_name_are_two_entries() {
    let server = Server::start().await;
    server.image("same:1", "cat").await;
    let tar = server.image_tar("cat");
    let url = format!("/v1/{PROJECT}/images");
    let put = server.api.send("PUT", &format!("{url}/same:1"), &[("x-auth-token", "member")], tar).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let first = server.api.get(&format!("{url}?limit=1"), "reader").await.json();
    assert_eq!(first["images"][0]["shared"], false);
    let second = server.api.get(&format!("{url}?limit=1&marker=same%3A1"), "reader").await.json();
    assert_eq!(second["images"][0]["shared"], true);
    let third = server.api.get(&format!("{url}?limit=1&marker=shared%40same%3A1"), "reader").await.json();
    assert_eq!(third["images"], json!([]));
}

#[tokio::test]
async fn routes_are_filtered_and_sorted_as_asked() {
    let server = world().await;
    let url = format!("/v1/{PROJECT}/apps/hello/routes");
    for (query, paths) in [
        ("timeout=gte:9", &["/y", "/z"][..]),
        ("timeout=9&is_public=true", &["/z"]),
        ("path=in:/x,/z&sort=path:desc", &["/z", "/x"]),
        ("sort=timeout:desc,path:desc&limit=2", &["/z", "/y"]),
        ("state=neq:ready", &[]),
        ("created_at=gt:2020-01-01T00:00:00Z&image=neq:other", &["/x", "/y", "/z"]),
    ] {
        let reply = server.api.get(&format!("{url}?{query}"), "reader").await;
        assert_eq!(shown(&reply, "routes", "path"), paths, "{query}");
    }
    let apps =
        server.api.get(&format!("/v1/{PROJECT}/apps?short_name=in:a,c&sort=name:desc"), "reader").await;
    assert_eq!(shown(&apps, "apps", "short_name"), ["c", "a"]);
}

#[tokio::test]
async fn a_marker_that_is_gone_and_what_is_no_parameter_are_400_by_name() {
    let server = world().await;
    let apps = format!("/v1/{PROJECT}/apps");
    let all = server.api.get(&apps, "reader").await.json();
    let id =
        all["apps"].as_array().unwrap().iter().find(|app| app["short_name"] == "b").unwrap()["id"].clone();
    let url = format!("{apps}?limit=1&marker={}", id.as_str().unwrap());
    assert_eq!(server.api.get(&url, "reader").await.status, 200);
    assert_eq!(server.api.delete(&format!("{apps}/b"), "member").await.status, 200);
    let routes = format!("{apps}/hello/routes?colour=red");
    let images = format!("/v1/{PROJECT}/images?limit=1001");
    for (url, name) in
        [(url, "marker"), (routes, "colour"), (images, "limit"), (format!("{apps}?sort=x"), "sort")]
    {
        let refused = server.api.get(&url, "reader").await;
        assert_eq!((refused.status, refused.kind().as_str()), (400, "invalid_field"), "{url}");
        assert!(refused.message().starts_with(&format!("{name}: ")), "{}", refused.message());
    }
}

#[tokio::test]
async fn of_many_changes_of_one_state_one_is_made_and_the_others_are_told() {
    let server = world().await;
    let (app, route) = (format!("/v1/{PROJECT}/apps/a"), format!("/v1/{PROJECT}/apps/hello/routes/x"));
    for (url, change) in [
        (app, (|n| json!({"description": format!("by {n}")})) as fn(u32) -> Value),
        (route, |n| json!({"timeout": 10 + n})),
    ] {
        let read = server.api.get(&url, "reader").await;
        let tag = read.header("etag").to_owned();
        let attempts: Vec<_> = (0..8)
            .map(|n| {
                let (api, url, tag) = (server.api.clone(), url.clone(), tag.clone());
                tokio::spawn(async move {
                    let headers = [
                        ("x-auth-token", "member"),
                        ("content-type", "application/json"),
                        ("if-match", tag.as_str()),
                    ];
                    api.send("PUT", &url, &headers, change(n).to_string()).await
                })
            })
            .collect();
        let mut made = Vec::new();
        for attempt in attempts {
            let reply = attempt.await.unwrap();
            match reply.status {
                200 => made.push(reply.header("etag").to_owned()),
                _ => assert_eq!((reply.status, reply.kind().as_str()), (412, "precondition_failed")),
            }
        }
        let after = server.api.get(&url, "reader").await;
        assert_eq!(made, [after.header("etag")], "{url}");
        assert_ne!(made, [tag.as_str()]);
    }
}

#[tokio::test]
async fn a_client_that_has_the_newest_state_gets_304_and_may_delete_only_that() {
    let server = world().await;
    let url = format!("/v1/{PROJECT}/apps/a");
    let tag = server.api.get(&url, "reader").await.header("etag").to_owned();
    let conditional = async |method, name, tag: &str| {
        server.api.send(method, &url, &[("x-auth-token", "member"), (name, tag)], "").await
    };
    let same = conditional("GET", "if-none-match", &tag).await;
    assert_eq!((same.status, same.body.is_empty(), same.header("etag")), (304, true, tag.as_str()));
    server.api.put(&url, "member", &json!({"description": "new"})).await;
    assert_eq!(conditional("GET", "if-none-match", &tag).await.status, 200);
    assert_eq!(conditional("DELETE", "if-match", &tag).await.status, 412);
    assert_eq!(conditional("DELETE", "if-match", "oops").await.status, 400);
    let now = server.api.get(&url, "reader").await.header("etag").to_owned();
    assert_eq!(conditional("DELETE", "if-match", &now).await.status, 200);
}
