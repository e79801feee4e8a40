//! Steps that cannot be right stop the start.

use crate::harness::App;

#[test]
fn a_wrong_step_is_named() {
    let wrong = [
        ("kind = \"variant\"", "consumers.steps.thumb.width", "is missing"),
        ("width = 0", "consumers.steps.thumb.width", "1 to 8192"),
        ("height = 9000", "consumers.steps.thumb.height", "1 to 8192"),
        ("width = 9\nfit = \"cover\"", "consumers.steps.thumb.fit", "set both"),
        ("width = 9\nquality = 0", "consumers.steps.thumb.quality", "1 to 100"),
        ("width = 9\ngps = true", "consumers.steps.thumb.gps", "\"exif\" only"),
        ("kind = \"exif\"\nwidth = 9", "consumers.steps.thumb.width", "\"variant\" only"),
        ("kind = \"paint\"", "consumers.steps.thumb.kind", "variant"),
        ("width = 9\ncolor = 1", "consumers.steps.thumb.color", ""),
        ("width = 9\nurl = \"http://a/\"", "consumers.steps.thumb.url", "\"http\" only"),
        ("kind = \"http\"", "consumers.steps.thumb.url", "must be where"),
        ("kind = \"http\"\nurl = \"ftp://a/\"", "consumers.steps.thumb.url", "must be where"),
        ("kind = \"http\"\nurl = \"http://a/\"", "consumers.steps.thumb.secret", "whsec_"),
        (
            "kind = \"http\"\nurl = \"http://a/\"\nsecret = \"c2hvcnQ=\"",
            "consumers.steps.thumb.secret",
            "24 to 64",
        ),
    ];
    for (settings, key, what) in wrong {
        let builder = App::builder().file(&format!("[consumers.steps.thumb]\n{settings}\n"));
        let ended = builder.run(&["check"]);
        assert!(!ended.status.success(), "{settings}");
        assert!(
            ended.stderr.contains(key) && ended.stderr.contains(what),
            "{settings}: {}",
            ended.stderr
        );
    }
    let name = App::builder().file("[consumers.steps.\"Big One\"]\nwidth = 9\n").run(&["check"]);
    assert!(name.stderr.contains("no step's name"), "{}", name.stderr);
    let twice = "[consumers.steps.a]\nkind = \"strip_metadata\"\n[consumers.steps.b]\nkind = \"strip_metadata\"\n";
    let twice = App::builder().file(twice).run(&["check"]);
    assert!(twice.stderr.contains("consumers.steps.b"), "{}", twice.stderr);
    let idle = "[consumers.workers]\nenabled = false\nonly = true\n";
    let idle = App::builder().file(idle).run(&["check"]);
    assert!(idle.stderr.contains("consumers.workers.only"), "{}", idle.stderr);
    let unreached = "[consumers.workers]\nonly = true\n[consumers.steps.labels]\nkind = \"http\"\n\
        url = \"http://a/\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n";
    let unreached = App::builder().file(unreached).run(&["check"]);
    assert!(unreached.stderr.contains("server.public_url"), "{}", unreached.stderr);
    let public = App::builder().set("SERVER__PUBLIC_URL", "images.example").run(&["check"]);
    assert!(public.stderr.contains("server.public_url"), "{}", public.stderr);
    let right = App::builder().file(super::STEPS).run(&["check"]);
    assert!(right.status.success(), "{}", right.stderr);
}

#[test]
fn a_services_secret_is_not_printed() {
    let step = "[consumers.steps.labels]\nkind = \"http\"\nurl = \"http://a/\"\ngate = true\n";
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let builder = App::builder().file(step);
    let builder = builder.set("CONSUMERS__STEPS__LABELS__SECRET", secret);
    let checked = builder.run(&["check"]);
    assert!(checked.status.success(), "{}", checked.stderr);
    assert!(checked.stdout.contains("gate = true"), "{}", checked.stdout);
    assert!(!checked.stdout.contains(secret) && !checked.stderr.contains(secret));
}
