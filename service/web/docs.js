/* Fetches openapi.json and shows every route, parameter and answer that it describes. */
"use strict";

let api;

/* An element with attributes and children; strings become text, never HTML. */
function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.filter(child => child !== undefined && child !== null));
    return element;
}

/* The target of a $ref, merged with the keys beside it; the parts of an allOf, merged. */
function resolve(node) {
    if (node.$ref) {
        const { $ref, ...beside } = node;
        const target = $ref.slice(2).split("/").reduce((found, key) => found[key], api);
        return { ...resolve(target), ...beside };
    }
    if (node.allOf) {
        const { allOf, ...beside } = node;
        return Object.assign({}, ...allOf.map(resolve), beside);
    }
    return node;
}

/* A schema in words: its type, its choices, its range. */
function words(schema) {
    const found = resolve(schema);
    if (found.anyOf) return found.anyOf.map(words).join(", or ");
    if (found.const !== undefined) return JSON.stringify(found.const);
    const preset = found.default === undefined ? "" : `; default ${found.default}`;
    if (found.enum) return (found.enum.length > 1 ? "one of " : "") + found.enum.join(", ") + preset;
    let text = [found.type ?? "anything"].flat().join(" or ");
    if (found.type === "array" && found.items) text = "list: " + words(found.items);
    if (found.type === "object" && found.properties) {
        text = "{ " + Object.entries(found.properties).map(([name, inner]) => `${name}: ${words(inner)}`).join("; ") + " }";
    }
    if (found.minimum !== undefined && found.maximum !== undefined) text += ` from ${found.minimum} to ${found.maximum}`;
    else if (found.minimum !== undefined) text += ` of at least ${found.minimum}`;
    return text + preset;
}

function table(caption, heads, rows) {
    if (!rows.length) return null;
    const head = make("tr", {}, ...heads.map(name => make("th", { scope: "col" }, name)));
    const body = rows.map(cells => make("tr", {}, ...cells.map(cell => make("td", {}, ...[cell].flat()))));
    const whole = make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
    return make("div", {}, make("h4", {}, caption), make("div", { class: "table", tabindex: "0" }, whole));
}

function code(text) { return make("code", {}, text) }

function parameters(operation) {
    const rows = (operation.parameters ?? []).map(resolve).map(parameter => [
        code(parameter.name),
        parameter.required ? "required" : parameter.in,
        words(parameter.schema),
        parameter.description ?? "",
    ]);
    return table("Parameters", ["name", "", "value", "meaning"], rows);
}

function requestBody(operation) {
    const content = operation.requestBody?.content["application/json"];
    if (!content) return null;
    const schema = resolve(content.schema);
    const shared = api.components.parameters;
    const rows = Object.entries(schema.properties).map(([name, inner]) => [
        code(name),
        schema.required.includes(name) ? "required" : "",
        words(inner),
        resolve(inner).description ?? shared[name]?.description ?? "",
    ]);
    const example = content.example && make("pre", {}, code(JSON.stringify(content.example, null, 2)));
    return make("div", {}, table("JSON body", ["name", "", "value", "meaning"], rows), example);
}

function errorCodes(schema) {
    const parts = schema.allOf ?? [];
    return parts.flatMap(part => part.properties?.error?.properties?.code?.enum ?? []);
}

function answer(response) {
    const lines = [response.description];
    for (const [type, { schema }] of Object.entries(response.content ?? {})) {
        const codes = schema ? errorCodes(schema) : [];
        if (codes.length) lines.push(make("br"), "code: ", code(codes.join(", ")));
        else if (schema) lines.push(make("br"), code(type), " " + words(schema));
    }
    const types = Object.entries(response.content ?? {}).filter(([, { schema }]) => !schema).map(([type]) => type);
    if (types.length) lines.push(make("br"), code(types.join(", ")));
    for (const [name, header] of Object.entries(response.headers ?? {})) {
        lines.push(make("br"), code(name), ": " + resolve(header).description);
    }
    return lines;
}

function route(path, method, operation) {
    const responses = Object.entries(operation.responses).map(([status, given]) => [code(status), answer(resolve(given))]);
    return make("section", { class: "route", id: operation.operationId },
        make("h3", {}, make("code", { class: "method" }, method.toUpperCase()), " ", code(path)),
        make("p", {}, make("strong", {}, operation.summary)),
        operation.description ? make("p", {}, operation.description) : null,
        operation.security ? make("p", {}, "Requires the server's key if it has one.") : null,
        parameters(operation), requestBody(operation),
        table("Responses", ["status", "meaning"], responses));
}

function show() {
    const main = document.getElementById("main");
    main.replaceChildren(
        make("h1", {}, api.info.title + ": API"),
        make("p", {}, api.info.summary),
        make("p", {}, api.info.description),
        make("p", {}, "The same for programs: ", make("a", { href: "openapi.json" }, "openapi.json"), ". ", make("a", { href: "./" }, "Try it on the page"), "."));
    const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
    main.append(make("nav", { "aria-label": "Routes" }, make("ul", {}, ...operations.map(({ path, method, operation }) =>
        make("li", {}, make("a", { href: "#" + operation.operationId }, code(`${method.toUpperCase()} ${path}`)), " " + operation.summary)))));
    for (const tag of api.tags) {
        main.append(make("h2", {}, tag.name), make("p", {}, tag.description));
        const own = operations.filter(({ operation }) => operation.tags.includes(tag.name));
        main.append(...own.map(({ path, method, operation }) => route(path, method, operation)));
    }
    main.append(make("h2", {}, "The key"), ...Object.values(api.components.securitySchemes).map(scheme =>
        make("p", {}, code(scheme.in === "query" ? `?${scheme.name}=` : "Authorization: Bearer"), " " + scheme.description)));
    document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch("openapi.json").then(answered => answered.json()).then(read => {
    api = read;
    show();
}).catch(error => {
    document.getElementById("status").textContent = "openapi.json could not be read: " + error.message;
});
