"use strict";
// Shows what /v1/models tells, and sends a row to /v1/score. Texts are set as text, never as markup.
const by = id => document.getElementById(id);
const add = (parent, tag, text) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
};
const ask = async (path, body) => {
    const headers = {};
    if (by("token").value) headers.Authorization = "Bearer " + by("token").value;
    const response = await fetch(path, body === undefined ? { headers } : { method: "POST", headers, body });
    return { ok: response.ok, told: await response.json() };
};
const kind = field => field.kind + (field.max_len ? " of at most " + field.max_len : field.len ? " of " + field.len : "");
const task = (name, kind) => kind === "binary" ? name : name + " (" + kind + ")";
const show = model => {
    const section = add(by("models"), "section");
    add(section, "h2", model.name);
    if (model.refused) add(section, "p", "refused: " + model.refused.file + ": " + model.refused.reason).className = "bad";
    if (!model.version) return;
    add(section, "p", model.model + ", version " + model.version + ", tasks: " + model.tasks.map((name, place) => task(name, model.kinds[place])).join(", ") + ", golden rows: " + model.golden);
    const table = add(section, "table");
    const head = add(table, "tr");
    ["field", "kind", "columns"].forEach(name => add(head, "th", name));
    for (const field of model.fields) {
        const row = add(table, "tr");
        [field.name, kind(field), (field.columns || [field.name]).join(", ")].forEach(text => add(row, "td", text));
    }
    const body = add(section, "textarea");
    body.rows = 8;
    body.setAttribute("aria-label", "request of " + model.name);
    body.value = JSON.stringify({ model: model.name, rows: [model.example] }, null, 2);
    const button = add(add(section, "p"), "button", "Score");
    const scores = add(section, "pre");
    button.onclick = async () => {
        const { ok, told } = await ask("/v1/score", body.value);
        scores.textContent = JSON.stringify(told, null, 2);
        scores.className = ok ? "" : "bad";
    };
};
const load = async () => {
    by("models").replaceChildren();
    const { ok, told } = await ask("/v1/models");
    by("told").textContent = ok ? told.models.length + " served" : told.error.message;
    if (ok) told.models.forEach(show);
};
by("load").onsubmit = event => {
    event.preventDefault();
    load();
};
load();
