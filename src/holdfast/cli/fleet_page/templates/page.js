(() => {
  "use strict";
  const AT_ONCE = 200;
  const DAY = 86400;
  const LARGEST = 1e15;
  const find = (selector) => document.querySelector(selector);
  const root = document.documentElement;
  const data = JSON.parse(find("#data").textContent);
  const jobs = data.jobs;
  const body = find("#jobs tbody");
  const rows = [...body.rows];
  const made = Date.parse(find("#made").dateTime) / 1000;
  const fields = { q: find("#q"), host: find("#host"), job: find("#job"), sort: find("#sort") };
  const tiles = [...document.querySelectorAll(".tile")];
  const detail = find("#detail");
  const live = find("#live");
  let shown = AT_ONCE;

  // Only text nodes and attributes are made: nothing that a host told is ever read as HTML.
  function make(name, attributes, ...children) {
    const isPicture = /^(svg|path|rect|title)$/.test(name);
    const made = isPicture
      ? document.createElementNS("http://www.w3.org/2000/svg", name)
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children.filter((each) => each !== null && each !== undefined && each !== ""));
    return made;
  }

  function size(count) {
    if (count === null || count === undefined) return "";
    let value = count;
    let unit = "B";
    for (const bigger of ["KiB", "MiB", "GiB", "TiB"]) {
      if (value < 1024) break;
      value /= 1024;
      unit = bigger;
    }
    return unit === "B" ? `${count} B` : `${value.toFixed(1)} ${unit}`;
  }

  function span(seconds) {
    if (seconds === null || seconds === undefined) return "";
    const bounded = Math.min(Math.max(0, seconds), LARGEST);
    if (bounded < 10) return `${bounded.toFixed(1)}s`;
    let left = Math.floor(bounded);
    const words = [];
    for (const [unit, length] of [["d", DAY], ["h", 3600], ["m", 60], ["s", 1]]) {
      if (left >= length) words.push(`${Math.floor(left / length)}${unit}`);
      left %= length;
    }
    return words.slice(0, 2).join(" ");
  }

  function moment(seconds) {
    if (seconds === null || seconds === undefined) return "";
    return new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
  }

  const dayOf = (index) =>
    new Date(Date.parse(data.first) + index * DAY * 1000).toISOString().slice(0, 10);
  const keyOf = (job) => `${job.host}/${job.job}`;

  // The state of the view is the fragment of the address: a link shows the same to a colleague.
  const view = { q: "", host: "", job: "", state: [], sort: "state", dir: "asc", open: "", live: "" };

  function readAddress() {
    const told = new URLSearchParams(location.hash.slice(1));
    for (const key of ["q", "host", "job", "open", "live"]) view[key] = told.get(key) || "";
    const states = (told.get("state") || "").split(",");
    view.state = tiles.map((each) => each.dataset.state).filter((each) => states.includes(each));
    view.sort = Object.hasOwn(ORDERS, told.get("sort")) ? told.get("sort") : "state";
    view.dir = told.get("dir") === "desc" ? "desc" : "asc";
  }

  function writeAddress() {
    const said = new URLSearchParams();
    for (const key of ["q", "host", "job"]) if (view[key]) said.set(key, view[key]);
    if (view.state.length) said.set("state", view.state.join(","));
    if (view.sort !== "state") said.set("sort", view.sort);
    if (view.dir !== "asc") said.set("dir", view.dir);
    if (view.open) said.set("open", view.open);
    if (view.live) said.set("live", view.live);
    const fragment = said.toString();
    history.replaceState(null, "", fragment ? `#${fragment}` : location.pathname + location.search);
  }

  // What each column is ordered by; the place of a row is its rank, worst first.
  const ORDERS = {
    state: (_, place) => place,
    host: (job) => job.host,
    job: (job) => job.job,
    newest: (job) => job.newest && -job.newest[2],
    stored: (job) => job.newest && job.newest[4],
    took: (job) => job.newest && job.newest[5],
    drilled: (job) => job.drilled && -job.drilled[0],
    next: (job) => {
      const timer = (job.timers || []).find((each) => each[0] === "backup");
      return timer && timer[2];
    },
    room: (job) => job.free,
    reported: (job) => job.at && -job.at,
  };

  function ordered(places) {
    const value = ORDERS[view.sort];
    const values = new Map(places.map((place) => [place, value(jobs[place], place)]));
    const sign = view.dir === "desc" ? -1 : 1;
    const isNone = (each) => each === null || each === undefined;
    return places.sort((one, other) => {
      const [a, b] = [values.get(one), values.get(other)];
      // What has no value comes last in both directions.
      if (isNone(a) || isNone(b)) return isNone(a) - isNone(b) || one - other;
      return a < b ? -sign : a > b ? sign : one - other;
    });
  }

  function matching() {
    const words = view.q.toLowerCase().split(/\s+/).filter(Boolean);
    return jobs.map((_, place) => place).filter((place) => {
      const job = jobs[place];
      if (view.state.length && !view.state.includes(job.state)) return false;
      if (view.host && job.host !== view.host) return false;
      if (view.job && job.job !== view.job) return false;
      const text = `${job.host} ${job.job} ${job.name} ${job.why}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  function show() {
    const found = ordered(matching());
    const visible = found.slice(0, shown).map((place) => rows[place]);
    if (!visible.length && jobs.length) {
      visible.push(make("tr", {}, make("td", { class: "none", colspan: "11" }, "No job matches.")));
    }
    body.replaceChildren(...visible);
    const all = `${jobs.length} ${jobs.length === 1 ? "job" : "jobs"}`;
    const part = found.length > shown ? `the first ${shown} of ` : "";
    find("#shown").textContent = found.length === jobs.length
      ? `${part}${all}`
      : `${part}${found.length} of ${all} ${found.length === 1 ? "matches" : "match"}`;
    find(".more").hidden = found.length <= shown;
    for (const each of document.querySelectorAll("#jobs thead th")) {
      const button = each.querySelector("button");
      if (!button || button.dataset.sort !== view.sort) each.removeAttribute("aria-sort");
      else each.setAttribute("aria-sort", view.dir === "asc" ? "ascending" : "descending");
    }
    for (const each of tiles) {
      each.setAttribute("aria-pressed", view.state.includes(each.dataset.state));
    }
    for (const [key, field] of Object.entries(fields)) if (field.value !== view[key]) field.value = view[key];
    if (live) live.checked = view.live !== "off";
  }

  function change(changes) {
    Object.assign(view, changes);
    shown = AT_ONCE;
    writeAddress();
    show();
  }

  function table(caption, heads, lines, long) {
    const columns = heads.map((each) => make("th", { scope: "col" }, each));
    const cells = (line) => line.map((each, place) =>
      make("td", place === long ? { class: "long" } : {}, each));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
      make("table", {},
        make("caption", { class: "unseen" }, caption),
        make("thead", {}, make("tr", {}, ...columns)),
        make("tbody", {}, ...lines.map((line) => make("tr", {}, ...cells(line))))));
  }

  const badge = (tone, text) => make("span", { class: `badge ${tone}` }, text);
  const TONES = { ok: "good", warning: "warn", failed: "bad", skipped: "warn" };

  function kindOf(day) {
    if (day[1] === "failed") return "bad";
    return day[3] || day[1] === "warning" ? "mixed" : "good";
  }

  function chart(title, days, value, words) {
    const largest = Math.max(...days.map(value), 0);
    const picture = make("svg", {
      class: "chart", viewBox: "0 0 300 100", preserveAspectRatio: "none", role: "img",
      "aria-label": `${title} of each of the last 30 days, at most ${words(largest)}`,
    });
    for (const day of days) {
      const height = largest ? Math.max(2, Math.round((value(day) / largest) * 94)) : 2;
      picture.append(make("rect", {
        class: kindOf(day), x: day[0] * 10 + 1, y: 100 - height, width: 8, height,
      }, make("title", {}, `${dayOf(day[0])}: ${words(value(day))}, ${day[1]}`)));
    }
    const scale = make("p", {}, make("span", {}, dayOf(0)), make("span", {}, `at most ${words(largest)}`), make("span", {}, dayOf(29)));
    return make("div", {}, make("h3", {}, title), picture, scale);
  }

  function facts(job) {
    const rto = job.drilled && `${moment(job.drilled[0])}, RTO ${span(job.drilled[1])}` +
      (job.drilled[2] === null ? "" : `, RPO ${span(job.drilled[2])}`);
    const told = [
      ["reported", job.at ? `${moment(job.at)} (${span(made - job.at)} before)` : "never"],
      ["newest good backup", job.newest ? `${moment(job.newest[2])}, ${size(job.newest[4])} in ${span(job.newest[5])}` : "none"],
      ["newest good drill", rto || "none"],
      ["room left", size(job.free)],
      ["may be old", job.overdue ? span(job.overdue) : ""],
      ["repositories", job.repositories.join(", ")],
      ["last tuning", job.tuning ? `${moment(job.tuning[0])}, ${job.tuning[1]}` : ""],
      ["version", job.version || ""],
    ];
    return make("dl", { class: "facts" }, ...told.filter((each) => each[1]).map(([name, value]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  }

  function say(tone, first, hint) {
    return make("div", { class: `say ${tone}` }, make("p", {}, first), hint ? make("p", {}, `hint: ${hint}`) : null);
  }

  function runs(job) {
    const timer = (command) => (job.timers || []).find((each) => each[0] === command);
    const names = new Set([...job.acts.map((each) => each[0]), ...job.timers.map((each) => each[0])]);
    return [...names].map((command) => {
      const act = job.acts.find((each) => each[0] === command);
      const due = timer(command);
      const next = due ? due[2] === null ? "" : moment(due[2]) : "";
      const state = due && due[4] === false ? `${next} (timer does not run)` : next;
      return [
        command, act ? badge(TONES[act[1]], act[1]) : "", act ? moment(act[2]) : "",
        act ? span(act[3] - act[2]) : "", due ? due[1] : "", state,
      ];
    });
  }

  function sections(job) {
    const found = [];
    const add = (title, ...parts) => found.push(make("h3", {}, title), ...parts);
    add("Runs", table("Last run of each command", ["command", "ended", "began", "took", "schedule", "next"], runs(job)));
    const bad = [...job.acts, ...job.failures].filter((each) => each[1] === "failed");
    for (const [, act] of bad.entries()) {
      const isLast = job.acts.includes(act);
      const when = `${isLast ? "last" : "earlier"} error of ${act[0]}, ${moment(act[3])}, exit code ${act[4]}`;
      found.push(say(isLast ? "bad" : "", `${when}: ${act[5]}`, act[6]));
    }
    if (job.days.length) {
      found.push(make("div", { class: "charts" },
        chart("Stored", job.days, (day) => day[5], size),
        chart("Duration", job.days, (day) => day[6], span)));
      const lines = [...job.days].reverse().map((day) =>
        [dayOf(day[0]), badge(TONES[day[1]], day[1]), day[2], day[3], size(day[4]), size(day[5]), span(day[6])]);
      found.push(make("details", {}, make("summary", {}, "Day by day"),
        table("Backups of each day", ["day", "last outcome", "runs", "failed", "plain", "stored", "took"], lines)));
    }
    const held = job.holdings;
    if (held) {
      if (held.windows.length) {
        add("Windows of recovery", table("Windows of recovery",
          ["database", "timeline", "every moment from", "to", "note"],
          held.windows.map((each) => [each[0], each[1], moment(each[2]), moment(each[3]),
            [each[4] ? "" : "time of archiving", each[5] ? `then a gap: ${each[5]}` : ""].filter(Boolean).join("; ")]), 4));
      }
      const some = held.count > held.backups.length ? `the newest ${held.backups.length} of ` : "";
      add(`Backups: ${some}${held.count}, as of ${moment(held.at)}`,
        held.backups.length ? table("Backups", ["backup", "database", "taken", "plain", "stored", "took"],
          held.backups.map((each) => [each[0], each[1], moment(each[2]), size(each[3]), size(each[4]), span(each[5])]))
          : make("p", {}, "none"));
    }
    if (job.drills.length) {
      add("Drills", table("Drills", ["ended", "backup", "database", "outcome", "RTO", "RPO"],
        job.drills.map((each) => [moment(each[2]), each[0], each[1],
          badge(each[3] ? "good" : "bad", each[3] ? "passed" : "failed"), span(each[4]), span(each[5])])));
    }
    return found;
  }

  function showDetail() {
    const job = view.open && jobs.find((each) => keyOf(each) === view.open);
    if (!job) {
      if (detail.open) detail.close();
      return;
    }
    const close = make("button", { type: "button", "aria-label": "Close" }, "close");
    close.addEventListener("click", () => detail.close());
    const title = make("div", {},
      make("h2", { id: "detail-title" }, `${job.host} / ${job.job || "any job"}`), badge(job.tone, job.name));
    const content = make("div", { class: "body" });
    if (job.why) content.append(say(job.tone, job.why, job.hint));
    if (job.at) content.append(facts(job), ...sections(job));
    else content.append(make("p", { class: "dim" }, "It has no status that can be trusted, so there is nothing more to show."));
    detail.replaceChildren(make("div", { class: "top" }, title, close), content);
    if (!detail.open) detail.showModal();
    detail.scrollTop = 0;
  }

  function age() {
    const seconds = Math.max(0, Date.now() / 1000 - made);
    find("#age").textContent = seconds < 60 ? "(just now)" : `(${span(seconds)} ago)`;
    find(".made").classList.toggle("old", seconds > DAY);
  }

  function setTheme(theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    find("#theme").value = theme;
  }

  // A page opened as a file may have no storage.
  function stored(write) {
    try {
      if (write !== undefined) localStorage.setItem("holdfast-theme", write);
      const theme = localStorage.getItem("holdfast-theme");
      return ["light", "dark"].includes(theme) ? theme : "";
    } catch {
      return write || "";
    }
  }

  function listen() {
    for (const key of ["host", "job"]) fields[key].addEventListener("change", () => change({ [key]: fields[key].value }));
    fields.q.addEventListener("input", () => change({ q: fields.q.value }));
    fields.sort.addEventListener("change", () => change({ sort: fields.sort.value, dir: "asc" }));
    find(".filters").addEventListener("submit", (event) => event.preventDefault());
    find(".filters").addEventListener("reset", (event) => {
      event.preventDefault();
      change({ q: "", host: "", job: "", state: [], sort: "state", dir: "asc" });
    });
    for (const each of tiles) {
      each.addEventListener("click", () => {
        const own = each.dataset.state;
        const others = view.state.filter((state) => state !== own);
        change({ state: others.length === view.state.length ? [...others, own] : others });
      });
    }
    for (const each of document.querySelectorAll("th button")) {
      each.addEventListener("click", () => {
        const sort = each.dataset.sort;
        change({ sort, dir: view.sort === sort && view.dir === "asc" ? "desc" : "asc" });
      });
    }
    find("#more").addEventListener("click", () => {
      shown += AT_ONCE;
      show();
    });
    body.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      view.open = new URLSearchParams(link.hash.slice(1)).get("open");
      writeAddress();
      showDetail();
    });
    detail.addEventListener("close", () => {
      view.open = "";
      writeAddress();
    });
    detail.addEventListener("click", (event) => {
      if (event.target === detail) detail.close();
    });
    find(".skip").addEventListener("click", (event) => {
      event.preventDefault();
      find("#jobs").focus();
    });
    find("#theme").addEventListener("change", (event) => setTheme(stored(event.target.value)));
    if (live) live.addEventListener("change", () => change({ live: live.checked ? "" : "off" }));
    addEventListener("hashchange", refresh);
  }

  function refresh() {
    readAddress();
    show();
    showDetail();
  }

  // A wall screen follows the fleet; a reader is not interrupted.
  function reload() {
    const isBusy = view.live === "off" || detail.open || document.activeElement === fields.q;
    if (!isBusy) location.reload();
  }

  root.classList.add("js");
  for (const each of document.querySelectorAll(".filters, .switches")) each.hidden = false;
  setTheme(stored());
  listen();
  refresh();
  age();
  setInterval(age, 10000);
  const seconds = Number(document.body.dataset.refresh || 0);
  if (seconds) setInterval(reload, seconds * 1000);
})();
