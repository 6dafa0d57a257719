// Watches a page frame by frame: what is there one moment, goes, greys, shrinks or moves, and then is as before, flashed.
// What has changed and stays changed did not. Run with the selector of the landmarks that are looked at.
(selector) => {
  const seen = { frames: 0, flashes: [], moved: [] };
  let before = null;
  let away = new Map();

  const faintest = (one) => {
    let opacity = 1;
    for (let place = one; place; place = place.parentElement) {
      const style = getComputedStyle(place);
      opacity *= style.visibility === "hidden" ? 0 : Number(style.opacity);
    }
    return opacity;
  };
  const isPicture = (one) => ["IMG", "CANVAS"].includes(one.tagName);
  const isThere = (one) => (one.tagName === "IMG" ? one.complete && one.naturalWidth > 0 : isPicture(one) || one.textContent.trim() !== "");
  const looks = (one) => {
    const box = one.getBoundingClientRect();
    return [isThere(one), faintest(one).toFixed(2), ...[box.left, box.top, box.width, box.height].map(Math.round)].join(" ");
  };
  const name = (one, place) => `${place}: ${one.tagName.toLowerCase()}.${one.className} ${one.textContent.trim().slice(0, 40)}`;
  const frame = () => {
    const now = [...document.querySelectorAll(selector)].map((one, place) => [name(one, place), looks(one)]);
    seen.frames += 1;
    const marks = now.map(([, mark]) => mark);
    if (before === null) before = marks;
    const places = Math.max(before.length, marks.length);
    for (let place = 0; place < places; place += 1) {
      if (marks[place] !== before[place]) {
        if (!away.has(place)) away.set(place, { was: before[place], is: marks[place], what: now[place]?.[0] ?? "gone", frame: seen.frames });
      } else if (away.has(place)) {
        seen.flashes.push(away.get(place));
        away.delete(place);
      }
    }
    // What stays otherwise for a second is a change, and the new state of things.
    if ([...away.values()].some((one) => seen.frames - one.frame > 60)) {
      before = marks;
      away = new Map();
    }
    window.calm.next = requestAnimationFrame(frame);
  };
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) continue;
      for (const { node, previousRect, currentRect } of entry.sources) {
        const from = [previousRect, currentRect].map((box) => `${box.x},${box.y} ${box.width}x${box.height}`);
        seen.moved.push(`${node?.textContent?.trim().slice(0, 40)}: ${from.join(" -> ")}`);
      }
    }
  }).observe({ type: "layout-shift" });
  window.calm = { seen, next: requestAnimationFrame(frame) };
}
