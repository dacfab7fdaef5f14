package client

// Challenge is what a Transport reads of the challenges of a refusal.
var Challenge = challenge
