# Nothing in here has a route to the internet: AWS's services are endpoints, and a public subnet exists for a public
# load balancer alone. endpoints.tf says which accounts those endpoints serve.
data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:only the first two by name are taken, and new zones are named after them
  state = "available"
}

locals {
  name         = var.context.name
  zones        = slice(data.aws_availability_zones.available.names, 0, 2)
  public_zones = var.public_subnets ? local.zones : []
}

resource "aws_vpc" "platform" {
  #checkov:skip=CKV2_AWS_11:nothing leaves the network and groups name every peer; flow logs cost more than they tell
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = local.name }
}

resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.platform.id
}

resource "aws_subnet" "private" {
  for_each          = { for index, zone in local.zones : zone => index }
  vpc_id            = aws_vpc.platform.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, each.value)
  # deploy/run_job.py finds the jobs' subnets by this name
  tags = { Name = "${local.name}-private-${each.key}" }
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.platform.id
  tags   = { Name = "${local.name}-private" }
}

resource "aws_route_table_association" "private" {
  for_each       = aws_subnet.private
  subnet_id      = each.value.id
  route_table_id = aws_route_table.private.id
}

# Only where the gateway's load balancer needs it.
resource "aws_internet_gateway" "public" {
  count  = var.public_subnets ? 1 : 0
  vpc_id = aws_vpc.platform.id
}

resource "aws_subnet" "public" {
  for_each          = { for index, zone in local.public_zones : zone => index + 8 }
  vpc_id            = aws_vpc.platform.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, each.value)
  tags              = { Name = "${local.name}-public-${each.key}" }
}

resource "aws_route_table" "public" {
  count  = var.public_subnets ? 1 : 0
  vpc_id = aws_vpc.platform.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.public[0].id
  }
  tags = { Name = "${local.name}-public" }
}

resource "aws_route_table_association" "public" {
  for_each       = aws_subnet.public
  subnet_id      = each.value.id
  route_table_id = aws_route_table.public[0].id
}
