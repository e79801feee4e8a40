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
    let right = App::builder().file(super::STEPS).run(&["check"]);
    assert!(right.status.success(), "{}", right.stderr);
}
